/** Tables of a report generation that a report database lost, by a restore in part or by hand. */
import { isTidemarkError } from '../../base/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import { answerFor, countRows } from './answer-time.ts';
import { tablesOf, type ReportLayout } from './layout.ts';

/** Names the tables of a generation that are not there. */
export async function missingTables(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
): Promise<string[]> {
  const missing: string[] = [];
  for (const table of tablesOf(layout)) {
    try {
      await connection.query(`SELECT 1 FROM ${dialect.id(table)} WHERE 1 = 0`);
    } catch (error) {
      if (!isTidemarkError(error, 'TABLE_MISSING')) throw error;
      missing.push(table);
    }
  }
  return missing;
}

/** Takes every row out of the tables that are left: what they say is not the whole any more. */
export async function emptyTables(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  missing: readonly string[],
): Promise<void> {
  for (const table of tablesOf(layout)) {
    if (missing.includes(table)) continue;
    const from = dialect.id(table);
    await connection.query(`DELETE FROM ${from}`, [], answerFor(await countRows(connection, from)));
  }
}
