/**
 * Takes row states back after a restore. The cluster that was restored seals other windows under the numbers
 * that came after its backup; what the shard holds of those came from windows that nobody knows now.
 */
import { mutated, TidemarkError } from '../../base/index.ts';
import { STATE_MARK_TABLE, STATE_OPEN } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import type { FormerChain } from '../../wire/index.ts';
import { stateTables } from './state-catalog.ts';
import { heldWindow, type StateMark } from './state-mark.ts';

export interface RewindInput {
  readonly sourceId: number;
  /** What the cluster was restored from, oldest first. */
  readonly formerChains: readonly FormerChain[];
  /** The row states, for a message. */
  readonly where: string;
}

/**
 * Takes back what is beyond the end of the chain under which the mark was set, in the transaction that holds
 * the lock on the mark. Returns the last window that the row states hold then.
 * @throws TidemarkError `HISTORY_DROPPED` if versions that it would open again are gone, and those of the
 * engine.
 */
export async function rewind(
  connection: SqlConnection,
  dialect: Dialect,
  { sourceId, formerChains, where }: RewindInput,
  mark: StateMark,
): Promise<number> {
  const end = heldWindow(mark, formerChains);
  if (mark.window <= end || mutated('states.foreignWindowsKept')) return mark.window;
  const holed = formerChains.some((chain) => mark.token < chain.below && chain.holed);
  if (mark.dropped > end && !holed && !mutated('states.holesTakenBack')) {
    const why = `the cluster was restored to window ${end}, and versions up to ${mark.dropped} were dropped`;
    throw new TidemarkError('HISTORY_DROPPED', `${where} cannot be taken back: ${why}`);
  }
  for (const table of await stateTables(connection, dialect, sourceId)) {
    const name = dialect.id(table);
    await connection.query(`DELETE FROM ${name} WHERE _from > ?`, [end]);
    const params = [STATE_OPEN, end, STATE_OPEN];
    await connection.query(`UPDATE ${name} SET _to = ? WHERE _to > ? AND _to <> ?`, params);
  }
  // No report reads what has holes: those of the source begin anew, as of a later window.
  const sql = `UPDATE ${STATE_MARK_TABLE} SET _dropped = ? WHERE _source = ? AND _dropped > ?`;
  await connection.query(sql, [end, sourceId, end]);
  return end;
}
