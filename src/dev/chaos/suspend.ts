/** Stopping a process (SIGSTOP) so that it does not take an embedded database's write lock with it. */
import { LIMITS, sleep, systemClock } from '../../base/index.ts';
import type { Child } from '../child.ts';
import type { ChaosContext } from './context.ts';
import { probeWriteLock, type LockProbe } from './lock-probe.ts';

const TRIES_MAX = 12;
const LET_GO_MAX_MS = 150;
const LOOK_EVERY_MS = 100;
/** Longer than merges of others that take their turn meanwhile; short, because it stops everyone's. */
const LOCKED_MS = 400;

/** Stops the child at a moment when no write lock is left behind; false (and running) when there was none. */
export async function suspendWithoutLock(context: ChaosContext, child: Child): Promise<boolean> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    child.suspend();
    const probes = await probeAll(context);
    if (probes.every(({ locked }) => !locked)) return true;
    child.resume();
    for (const { over } of probes) await over;
    await sleep(systemClock, context.random.below(LET_GO_MAX_MS));
  }
  return false;
}

/**
 * Stops the child for a while, whatever it holds. A lock that it keeps past its session ends the child:
 * nothing else could end that lock.
 */
export async function suspendFor(context: ChaosContext, child: Child, forMs: number): Promise<void> {
  const { counts, say } = context;
  const stopped = systemClock.monotonicMs();
  child.suspend();
  while (systemClock.monotonicMs() - stopped < forMs) {
    await sleep(systemClock, LOOK_EVERY_MS);
    if (systemClock.monotonicMs() - stopped < LIMITS.executorSessionMs) continue;
    const probes = await probeAll(context);
    if (probes.every(({ locked }) => !locked)) continue;
    say(`chaos: ${child.name} is stopped and holds a database's write lock past its session; killed`);
    counts.lockHoldersKilled += 1;
    child.kill();
    await child.exited;
    child.start();
    for (const { over } of probes) await over;
    return;
  }
  child.resume();
}

function probeAll({ reports, store }: ChaosContext): Promise<LockProbe[]> {
  return Promise.all([reports, store].map((engine) => probeWriteLock(engine, LOCKED_MS)));
}
