/**
 * A stopped process that had begun a write transaction on an embedded database keeps its lock for as long
 * as it is stopped. MySQL ends such a connection by itself (short idle timeouts); a file has nobody who
 * would.
 */
import { isTidemarkError, sleep, systemClock } from '../../base/index.ts';
import type { SqlEngine } from '../../sql/index.ts';

export interface LockProbe {
  /** Whether the write lock could not be had in time. Never true for a server. */
  readonly locked: boolean;
  /** Resolves when the probe itself is over: the lock was let go, or the engine waited no longer. */
  readonly over: Promise<void>;
}

/** Tells whether someone holds the write lock of an embedded database for longer than `withinMs`. */
export async function probeWriteLock(engine: SqlEngine, withinMs: number): Promise<LockProbe> {
  if (engine.kind !== 'embedded') return { locked: false, over: Promise.resolve() };
  const had = takeWriteLock(engine);
  const inTime = new AbortController();
  const tooLong = sleep(systemClock, withinMs, inTime.signal).then(
    () => true,
    () => false,
  );
  const locked = await Promise.race([had.then((free) => !free), tooLong]);
  inTime.abort(new Error('answered in time'));
  return { locked, over: had.then(() => undefined) };
}

/** Takes the lock and gives it back; false if it was not to be had for as long as the engine waits. */
async function takeWriteLock(engine: SqlEngine): Promise<boolean> {
  try {
    await engine.use('lock probe', async (connection) => {
      await connection.begin('write');
      await connection.rollback();
    });
    return true;
  } catch (error) {
    if (isTidemarkError(error, 'DB_BUSY')) return false;
    throw error;
  }
}
