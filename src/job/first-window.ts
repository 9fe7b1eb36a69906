/**
 * Checks that a report can begin: window 1 is everything that the source holds now, as one contribution, and
 * no window setting makes it smaller.
 */
import { isTidemarkError, LIMITS, TidemarkError } from '../base/index.ts';
import { sourceTerms, type CheckReportInput } from './check-report.ts';
import { REPORT_ROWS, sizeQueries, withRows } from './contribution-queries.ts';

/**
 * Rows of the report's SQL that are looked at. A validation has seconds: what shows only beyond them is found
 * by the task of window 1.
 */
const ROWS_READ_MAX = 500_000;

/** What helps against a first window that is too large. */
export const FIRST_WINDOW_NEXT =
  'Choose keys (or values of min, max and distinct) with fewer values and apply the job again: all rows ' +
  'that the source holds at the start come as one window.';

/**
 * Counts what window 1 would add to a report, and refuses a report that could never have it merged.
 * @throws TidemarkError `CONTRIBUTION_TOO_LARGE`, and `DB_*` if the source cannot be asked.
 */
export async function checkFirstWindow(
  input: CheckReportInput,
  rowsMax: number = LIMITS.contributionRowsMax,
): Promise<void> {
  const { connection, dialect, report } = input;
  const terms = await sourceTerms(input, 'all');
  // A count that takes too long here says nothing: a task has far more time.
  const countOf = async (sql: string): Promise<number> => {
    try {
      const { rows } = await connection.query(sql);
      return Number(rows[0]?.[0] ?? 0);
    } catch (error) {
      if (isTidemarkError(error, 'SQL_TOO_SLOW')) return 0;
      throw error;
    }
  };
  const atMost = rowsMax + 1;
  // The cheap question first: few rows have few keys.
  const some = `SELECT 1 AS counted FROM ${dialect.id(REPORT_ROWS)} LIMIT ${atMost}`;
  const all = await countOf(`${withRows(dialect, report, terms)}\nSELECT COUNT(*) FROM (${some}) AS found`);
  if (all <= rowsMax) return;
  // Rows of class affectedKeys are cells already: they are not grouped any further.
  const isOfCells = report.affectedKeys !== undefined;
  const sizes = isOfCells ? [] : sizeQueries(dialect, report, terms, { read: ROWS_READ_MAX, atMost });
  let isTooLarge = isOfCells;
  for (const sql of sizes) isTooLarge ||= (await countOf(sql)) > rowsMax;
  if (isTooLarge) {
    throw new TidemarkError(
      'CONTRIBUTION_TOO_LARGE',
      `report ${report.name}: its first window would add more than ${rowsMax} rows, the most that is merged`,
      { next: FIRST_WINDOW_NEXT, details: { report: report.name, rowsMax: String(rowsMax) } },
    );
  }
}
