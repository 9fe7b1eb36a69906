/**
 * `--verify`: recomputes every sample report from the source's own base tables and compares it with the
 * view that people read, cell by cell. The caller has stopped the load and waited for the watermark.
 */
import type { SqlEngine } from '../../sql/index.ts';
import { compareReport, type WrongCell } from './compare.ts';
import { expectedReports } from './expected-sql.ts';

export interface Verification {
  readonly reports: number;
  readonly rows: number;
  readonly cells: number;
  readonly wrong: readonly WrongCell[];
  /** Reports that should have and have no row: their comparison says nothing. */
  readonly empty: readonly string[];
}

/** Throws nothing of its own: a database error is the engines' coded error. */
export async function verifyReports(input: {
  readonly source: SqlEngine;
  readonly sink: SqlEngine;
}): Promise<Verification> {
  const reports = expectedReports(input.source.kind);
  const wrong: WrongCell[] = [];
  const empty: string[] = [];
  let cells = 0;
  let rows = 0;
  for (const { report, keys, sql } of reports) {
    const expected = await input.source.use('verify', (connection) => connection.query(sql));
    const actual = await input.sink.use('verify', (connection) =>
      connection.query(`SELECT * FROM ${input.sink.dialect.id(report)}`),
    );
    const comparison = compareReport({ report, keys, expected, actual });
    cells += comparison.cells;
    rows += comparison.rows;
    if (comparison.rows === 0) empty.push(report);
    wrong.push(...comparison.wrong);
  }
  return { reports: reports.length, rows, cells, wrong, empty };
}
