/**
 * A stopped process that had begun a write transaction on an embedded database keeps its lock for as long
 * as it is stopped. MySQL ends such a connection by itself (short idle timeouts); a file has nobody who
 * would.
 */
import { isTidemarkError } from '../../base/index.ts';
import type { SqlEngine } from '../../sql/index.ts';

/** Tells whether someone holds the write lock of an embedded database now. Never true for a server. */
export async function isWriteLocked(engine: SqlEngine): Promise<boolean> {
  if (engine.kind !== 'embedded') return false;
  try {
    await engine.use('lock probe', async (connection) => {
      await connection.begin('write');
      await connection.rollback();
    });
    return false;
  } catch (error) {
    if (isTidemarkError(error, 'DB_BUSY')) return true;
    throw error;
  }
}
