/**
 * The server's statistics of row states. MariaDB takes them anew in the background, but a table that is open
 * goes on with those of the moment at which it was opened: one that was opened while it had just been filled
 * is read as a whole for each row that is joined to it, for as long as it is open.
 */
import { mutated } from '../../base/index.ts';
import { stateTable, type CapturedTable } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';

/**
 * Takes the statistics of a table anew whenever the number of its windows has doubled, outside of any
 * transaction: that is often while it is small, and seldom when that takes longer.
 * @throws TidemarkError those of the engine.
 */
export async function analyzeGrown(
  connection: SqlConnection,
  dialect: Dialect,
  grown: { readonly sourceId: number; readonly table: CapturedTable; readonly windows: readonly number[] },
): Promise<void> {
  const { sourceId, table, windows } = grown;
  if (dialect.kind !== 'mysql' || !windows.some(isPowerOfTwo) || mutated('states.neverAnalyzed')) return;
  const name = stateTable({ sourceId, table: table.table, schemaVersion: table.schemaVersion });
  await connection.query(`ANALYZE TABLE ${dialect.id(name)}`);
}

const isPowerOfTwo = (window: number): boolean => Number.isInteger(Math.log2(window));
