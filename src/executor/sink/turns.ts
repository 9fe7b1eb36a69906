/**
 * Turns on a database that has one writer at a time. Without them every waiting transaction of this process
 * would poll for the write lock with growing pauses (sqlite.org/c3ref/busy_timeout.html), and the lock would
 * lie idle between two of them.
 */
import type { SqlEngine } from '../../sql/index.ts';

const last = new WeakMap<SqlEngine, Promise<unknown>>();

/**
 * Runs `work` when everything that asked before for this engine has ended; at once on engines with row locks.
 */
export function inTurn<T>(engine: SqlEngine, work: () => Promise<T>): Promise<T> {
  if (engine.kind !== 'embedded') return work();
  const turn = (last.get(engine) ?? Promise.resolve()).then(work);
  last.set(
    engine,
    turn.then(
      () => undefined,
      // The one who asked hears of the failure; who comes next only waits for the end.
      () => undefined,
    ),
  );
  return turn;
}
