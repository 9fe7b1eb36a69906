/**
 * Drives the faults of `dev --chaos`: in each round of 30 s the four placed ones at least once, between and
 * after them kills and stops of random processes. One fault at a time, and all is running again before the
 * next: a minority of coordinators is all that a cluster of three can lose.
 */
import { isTidemarkError, sleep, systemClock } from '../../base/index.ts';
import type { Child } from '../child.ts';
import type { ChaosContext } from './context.ts';
import { EVENT_EVERY_MS, requiredTimes } from './counts.ts';
import { afterLeaderKill, PLACED_FAULTS, type PlacedFault } from './placed-faults.ts';
import { suspendFor } from './suspend.ts';

const PAUSE_MAX_MS = 1_200;
const STOP_MAX_MS = 5_000;
const DOWN_MAX_MS = 1_000;
const READY_WITHIN_MS = 15_000;

/** How often each placed fault has come about. */
type Done = Map<PlacedFault, number>;

/**
 * Runs rounds until the signal of `context` aborts. The fault at hand is then finished, and what has come
 * about less often than the length of the run asks for is still tried, for a bounded time: without it the run
 * would prove nothing.
 */
export async function runChaos(context: ChaosContext): Promise<void> {
  const { counts, interrupted, signal } = context;
  const done: Done = new Map(PLACED_FAULTS.map((fault) => [fault, 0]));
  const started = systemClock.monotonicMs();
  while (!signal.aborted) await runRound(context, done);
  const ended = systemClock.monotonicMs();
  counts.required = requiredTimes(ended - started);
  const owed = (): PlacedFault[] => PLACED_FAULTS.filter((fault) => (done.get(fault) ?? 0) < counts.required);
  while (owed().length > 0 && systemClock.monotonicMs() < ended + counts.required * EVENT_EVERY_MS) {
    for (const fault of owed()) {
      if (interrupted.aborted) return;
      await tryFault(context, fault, done);
    }
  }
}

async function runRound(context: ChaosContext, done: Done): Promise<void> {
  const { random, signal } = context;
  const started = systemClock.monotonicMs();
  const waiting = [...PLACED_FAULTS];
  while (!signal.aborted && (waiting.length > 0 || systemClock.monotonicMs() - started < EVENT_EVERY_MS)) {
    const fault = waiting.shift();
    if (fault === undefined) await randomFault(context);
    else if (!(await tryFault(context, fault, done))) waiting.push(fault);
    await sleep(systemClock, random.below(PAUSE_MAX_MS));
    if (waiting.length > 0 && random.chance(40)) await randomFault(context);
  }
}

async function tryFault(context: ChaosContext, fault: PlacedFault, done: Done): Promise<boolean> {
  await untilReady(context);
  if (await tolerateChange(() => fault.run(context))) {
    done.set(fault, (done.get(fault) ?? 0) + 1);
    return true;
  }
  context.counts.missed += 1;
  context.say(`chaos: did not come about, tried again later: ${fault.name}`);
  return false;
}

/** A question that falls between two leaders is no end of the run: the fault has not come about. */
async function tolerateChange(run: () => Promise<boolean>): Promise<boolean> {
  try {
    return await run();
  } catch (error) {
    if (isTidemarkError(error) && error.retry !== 'never') return false;
    throw error;
  }
}

async function randomFault(context: ChaosContext): Promise<void> {
  const { cluster, random, signal } = context;
  if (signal.aborted) return;
  await untilReady(context);
  const child = cluster.children[random.below(cluster.children.length)];
  if (child === undefined || !child.running) return;
  if (random.chance(50)) await kill(context, child);
  else await stop(context, child);
}

async function kill(context: ChaosContext, child: Child): Promise<void> {
  const { cluster, counts, random, say } = context;
  const leader = await cluster.leader();
  child.kill();
  const killedMs = systemClock.monotonicMs();
  counts.kills += 1;
  say(`chaos: ${child === leader ? 'leader ' : ''}${child.name} killed`);
  if (child === leader) await afterLeaderKill(context, child, killedMs);
  await child.exited;
  await sleep(systemClock, random.below(DOWN_MAX_MS));
  child.start();
}

async function stop(context: ChaosContext, child: Child): Promise<void> {
  const forMs = 200 + context.random.below(STOP_MAX_MS);
  context.counts.stops += 1;
  context.say(`chaos: ${child.name} stopped for ${forMs} ms`);
  await suspendFor(context, child, forMs);
}

/** All processes run, and a leader answers. */
async function untilReady({ cluster }: ChaosContext): Promise<void> {
  await cluster.waitUntil(
    'every coordinator answers and one leads',
    async () => {
      const statuses = await cluster.doors.statuses();
      const answering = statuses.every((status) => status !== undefined);
      const leads = statuses.some((status) => status?.role === 'leader');
      return answering && leads && cluster.children.every((child) => child.running && !child.suspended);
    },
    READY_WITHIN_MS,
  );
}
