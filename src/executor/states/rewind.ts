/**
 * Takes row states back after a restore. The cluster that was restored seals other windows under the numbers
 * that came after its backup; what the shard holds of those came from windows that nobody knows now.
 */
import { mutated } from '../../base/index.ts';
import { STATE_OPEN } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import { stateTables } from './state-catalog.ts';

export interface RewindInput {
  readonly sourceId: number;
  /** The last window of the chain that is known; undefined: all that the shard holds is of this chain. */
  readonly chainEnd?: number;
}

/**
 * Takes back what is beyond the chain's end, in the transaction that holds the lock on the mark. Returns the
 * last window that the row states hold then.
 * @throws TidemarkError those of the engine.
 */
export async function rewind(
  connection: SqlConnection,
  dialect: Dialect,
  { sourceId, chainEnd }: RewindInput,
  mark: number,
): Promise<number> {
  if (chainEnd === undefined || mark <= chainEnd || mutated('states.foreignWindowsKept')) return mark;
  for (const table of await stateTables(connection, dialect, sourceId)) {
    const name = dialect.id(table);
    await connection.query(`DELETE FROM ${name} WHERE _from > ?`, [chainEnd]);
    const params = [STATE_OPEN, chainEnd, STATE_OPEN];
    await connection.query(`UPDATE ${name} SET _to = ? WHERE _to > ? AND _to <> ?`, params);
  }
  return chainEnd;
}
