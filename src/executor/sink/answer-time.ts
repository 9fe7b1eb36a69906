/**
 * How long a statement over many rows may take. What one span or one piece has ends within the time that
 * every statement has; what many spans have at once, or a whole table, may not, and a statement that is given
 * up each time holds its transaction up for ever.
 */
import { LIMITS, mutated } from '../../base/index.ts';
import type { QueryOptions, SqlConnection, SqlParam } from '../../sql/index.ts';

/** Which rows of a table. */
export interface Rows {
  readonly where: string;
  readonly params: readonly SqlParam[];
}

/** Counts rows of `from`, a quoted table, which may have an alias; of all of it if no rows are named. */
export async function countRows(
  connection: SqlConnection,
  from: string,
  { where, params }: Rows = { where: '1 = 1', params: [] },
): Promise<number> {
  const sql = `SELECT COUNT(*) FROM ${from} WHERE ${where}`;
  return Number((await connection.query(sql, params)).rows[0]?.[0] ?? 0);
}

/** Few rows have the time that every statement has. A row has taken 0.01 ms on a busy server. */
export function answerFor(rows: number): QueryOptions {
  if (rows <= LIMITS.contributionRowsHeldMax || mutated('sink.largeStatementGivenUp')) return {};
  return { answerMs: LIMITS.largeStatementMs + rows };
}
