/**
 * The server's statistics of row states. MariaDB takes them anew in the background, but a table that is open
 * goes on with those of the moment at which it was opened: one that was opened while it had just been filled
 * is read as a whole for each row that is joined to it, for as long as it is open.
 */
import { mutated } from '../../base/index.ts';
import { stateTable, type CapturedTable } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';

/** A table of row states, and the windows that are about to be added to it. */
interface Growing {
  readonly table: CapturedTable;
  readonly windows: readonly { readonly window: bigint }[];
}

/**
 * Tells, before an advance, which tables will need statistics after it: those that are empty yet, and all
 * whenever the number of windows doubles. That is often while they are small, and seldom when it takes
 * longer.
 * @throws TidemarkError those of the engine.
 */
export async function outgrown(
  connection: SqlConnection,
  dialect: Dialect,
  sourceId: number,
  growing: readonly Growing[],
): Promise<string[]> {
  if (dialect.kind !== 'mysql' || mutated('states.neverAnalyzed')) return [];
  const found: string[] = [];
  for (const { table, windows } of growing) {
    const { schemaVersion } = table;
    const name = dialect.id(stateTable({ sourceId, table: table.table, schemaVersion }));
    const doubles = windows.some(({ window }) => Number.isInteger(Math.log2(Number(window))));
    if (doubles || (await isEmpty(connection, name))) found.push(name);
  }
  return found;
}

async function isEmpty(connection: SqlConnection, name: string): Promise<boolean> {
  return (await connection.query(`SELECT 1 FROM ${name} LIMIT 1`)).rows.length === 0;
}

/**
 * Takes the statistics of these tables anew, outside of any transaction. Of one without rows it would be done
 * window after window.
 * @throws TidemarkError those of the engine.
 */
export async function analyze(connection: SqlConnection, tables: readonly string[]): Promise<void> {
  for (const name of tables) {
    if (!(await isEmpty(connection, name))) await connection.query(`ANALYZE TABLE ${name}`);
  }
}
