/**
 * The four events of evidence rule 3, each placed by a failpoint and each counted only once its consequence
 * was seen. A fault that does not come about in time resolves to false and is tried again later.
 */
import { sleep, systemClock, type FailpointArm } from '../../base/index.ts';
import { LEDGER_TABLE } from '../../job/index.ts';
import type { Child } from '../child.ts';
import type { ChaosContext, ChildHit } from './context.ts';
import { suspendWithoutLock } from './suspend.ts';

export interface PlacedFault {
  readonly name: string;
  run(context: ChaosContext): Promise<boolean>;
}

const HIT_WITHIN_MS = 10_000;
const CONSEQUENCE_WITHIN_MS = 15_000;
const RESTART_AFTER_MS = 300;
const LOOK_EVERY_MS = 50;
const WRITES_RESUME_WITHIN_MS = 20_000;

/** Arms a failpoint in one child and waits for its hit. */
async function placed(
  { hits }: ChaosContext,
  child: Child,
  arm: FailpointArm,
): Promise<ChildHit | undefined> {
  const { name } = arm;
  const mark = hits.mark;
  child.send({ testBuild: 'arm', arm });
  const hit = await hits.after(mark, (item) => item.child === child && item.hit.name === name, HIT_WITHIN_MS);
  if (hit === undefined) child.send({ testBuild: 'disarm', name });
  return hit;
}

async function restart(child: Child): Promise<void> {
  await child.exited;
  await sleep(systemClock, RESTART_AFTER_MS);
  child.start();
}

/** The child that hosts the source's collector now, and under which epoch. */
async function collectorHost(context: ChaosContext): Promise<{ child: Child; epoch: bigint } | undefined> {
  const [source] = await context.ask.sources();
  const executors = await context.ask.executors();
  const host = executors.find((executor) => executor.executorId === source?.collectorExecutorId);
  const child = context.cluster.executors.find((item) => item.name === host?.name);
  return child === undefined || source === undefined ? undefined : { child, epoch: source.collectorEpoch };
}

/** Repeats `check` until it holds or `withinMs` have passed. */
async function within(withinMs: number, check: () => Promise<boolean>): Promise<boolean> {
  const deadline = systemClock.monotonicMs() + withinMs;
  while (systemClock.monotonicMs() < deadline) {
    if (await check()) return true;
    await sleep(systemClock, LOOK_EVERY_MS);
  }
  return false;
}

/**
 * Resolves with whether a token above `token` was applied for the task `report/generation/first
 * window/part`.
 */
async function mergedAbove({ reports }: ChaosContext, task: string, token: bigint): Promise<boolean> {
  const result = await reports.use('chaos', (connection) =>
    connection.query(
      `SELECT applied FROM ${LEDGER_TABLE} ` +
        'WHERE report_id = ? AND generation = ? AND first_window = ? AND part = ?',
      task.split('/').map(Number),
    ),
  );
  const applied = result.rows[0]?.[0];
  return typeof applied === 'bigint' && applied > token;
}

/**
 * An executor computes a contribution and is stopped past its session; another one merges the next version;
 * the first wakes with its old token and submits its merge. It must change nothing: FENCED.
 */
const heldMerge: PlacedFault = {
  name: 'executor held past its session',
  async run(context) {
    const { cluster, counts, random, records, say } = context;
    // The collector's host would be stopped with its collector: that is another fault.
    const host = await collectorHost(context);
    const others = cluster.executors.filter((child) => child.running && child !== host?.child);
    const child = others[random.below(others.length)];
    if (child === undefined) return false;
    const name = 'executor.afterCompute';
    const found = await placed(context, child, { name, action: 'pause' });
    if (found === undefined) return false;
    const { task = '', token = '0' } = found.hit.detail;
    if (!(await suspendWithoutLock(context, child))) {
      child.send({ testBuild: 'release', name });
      return false;
    }
    say(`chaos: ${child.name} stopped between compute and merge of task ${task}`);
    const merged = await within(CONSEQUENCE_WITHIN_MS, () => mergedAbove(context, task, BigInt(token)));
    const mark = records.mark;
    // The release waits in the channel, so that it is the first thing that the process finds when it wakes.
    child.send({ testBuild: 'release', name });
    child.resume();
    if (!merged) return false;
    const fenced = await records.after(
      mark,
      ({ record }) => record['token'] === token && record['result'] === 'FENCED',
      CONSEQUENCE_WITHIN_MS,
    );
    if (fenced === undefined) return false;
    counts.fencedMerges += 1;
    say(`chaos: ${child.name} woke with its old token; its merge was fenced`);
    return true;
  },
};

/**
 * An executor dies after its merge committed and before it could say so; the next version replaces what it
 * wrote.
 */
const lostReport: PlacedFault = {
  name: 'executor killed between commit and report',
  async run(context) {
    const { cluster, counts, random, records, say } = context;
    const running = cluster.executors.filter((child) => child.running);
    const child = running[random.below(running.length)];
    if (child === undefined) return false;
    const mark = records.mark;
    const name = 'executor.afterCommitBeforeReport';
    const found = await placed(context, child, { name, action: 'kill' });
    if (found === undefined) return false;
    const task = found.hit.detail['task'];
    counts.kills += 1;
    say(`chaos: ${child.name} killed after the commit of task ${task ?? ''}, before its report`);
    await restart(child);
    const replaced = await records.after(
      mark,
      ({ record }) => record['task'] === task && record['replaced'] === true,
      CONSEQUENCE_WITHIN_MS,
    );
    if (replaced === undefined) return false;
    counts.replacedContributions += 1;
    say(`chaos: the contribution of task ${task ?? ''} was replaced by the next version`);
    return true;
  },
};

/** The collector's host dies with rows in the store that no seal names; another one takes the source over. */
const collectorDeath: PlacedFault = {
  name: 'collector host killed with unsealed rows',
  async run(context) {
    const { counts, say } = context;
    const host = await collectorHost(context);
    if (host === undefined || !host.child.running) return false;
    const name = 'collector.beforeSeal';
    const found = await placed(context, host.child, { name, action: 'kill' });
    if (found === undefined) return false;
    counts.kills += 1;
    const rows = Number(found.hit.detail['rows'] ?? 0);
    say(`chaos: ${host.child.name}, which collects, killed with ${rows} unsealed rows`);
    await restart(host.child);
    const taken = await within(CONSEQUENCE_WITHIN_MS, async () => {
      const [source] = await context.ask.sources();
      return source !== undefined && source.collectorEpoch > host.epoch;
    });
    if (!taken || rows === 0) return false;
    counts.collectorTakeoversWithUnsealedRows += 1;
    say('chaos: the source has a new collector under a higher epoch');
    return true;
  },
};

/** The leader dies after a grant was committed and before it was dispatched. */
const leaderDeath: PlacedFault = {
  name: 'leader killed between grant and dispatch',
  async run(context) {
    const { cluster, counts, say } = context;
    const child = await cluster.leader();
    // Prepare and collector grants pass the same place; the event is one with a task in flight.
    const found = await placed(context, child, {
      name: 'scheduler.afterGrantBeforeDispatch',
      action: 'kill',
      match: { kind: 'task' },
    });
    if (found === undefined) return false;
    const killedMs = systemClock.monotonicMs();
    counts.kills += 1;
    say(`chaos: leader ${child.name} killed between a grant and its dispatch`);
    await afterLeaderKill(context, child, killedMs);
    const next = await cluster.leader();
    await restart(child);
    if (next === child) return false;
    counts.leaderChangesWithTasksInFlight += 1;
    return true;
  },
};

/** Measures until a change is committed again. */
export async function afterLeaderKill(
  { cluster, writesResumedMs, say }: ChaosContext,
  child: Child,
  killedMs: number,
): Promise<void> {
  const resumedMs = Math.round(await cluster.doors.untilCommitted(killedMs, WRITES_RESUME_WITHIN_MS));
  writesResumedMs.push(resumedMs);
  say(`chaos: writes resumed ${resumedMs} ms after the end of ${child.name}`);
}

export const PLACED_FAULTS: readonly PlacedFault[] = [lostReport, leaderDeath, heldMerge, collectorDeath];
