/** Stopping a process (SIGSTOP) so that it does not take an embedded database's write lock with it. */
import { LIMITS, sleep, systemClock } from '../../base/index.ts';
import type { Child } from '../child.ts';
import type { ChaosContext } from './context.ts';
import { isWriteLocked } from './lock-probe.ts';

const TRIES_MAX = 3;
const LET_GO_MS = 30;
const LOOK_EVERY_MS = 100;

/** Stops the child at a moment when no write lock is left behind; false (and running) when there was none. */
export async function suspendWithoutLock(context: ChaosContext, child: Child): Promise<boolean> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    child.suspend();
    if (!(await anyLocked(context))) return true;
    child.resume();
    await sleep(systemClock, LET_GO_MS);
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
    const pastSession = systemClock.monotonicMs() - stopped > LIMITS.executorSessionMs;
    if (pastSession && (await anyLocked(context))) {
      say(`chaos: ${child.name} is stopped and holds a database's write lock past its session; killed`);
      counts.lockHoldersKilled += 1;
      child.kill();
      await child.exited;
      child.start();
      return;
    }
  }
  child.resume();
}

async function anyLocked({ reports, store }: ChaosContext): Promise<boolean> {
  return (await isWriteLocked(reports)) || (await isWriteLocked(store));
}
