/** What a report shows, computed in one go: its SQL over the whole tables, every row with weight 1. */
import type { SampleReport } from '../../src/dev/sample/index.ts';
import type { Dialect } from '../../src/sql/index.ts';

export function wholeReportSql(report: SampleReport, dialect: Dialect): string {
  const inputs = Object.entries(report.inputs).map(([alias, input]) =>
    'changes' in input
      ? `${alias} AS (SELECT t.*, 1 AS _w FROM ${input.changes} t)`
      : `${alias} AS (SELECT * FROM ${input.dimension})`,
  );
  // The embedded engine divides integers as integers.
  const sumOf = (column: string): string =>
    dialect.kind === 'mysql' ? `SUM(${column})` : `CAST(SUM(${column}) AS REAL)`;
  const cellOf = (kind: string, column: string): string => {
    if (kind === 'avg') return `${sumOf(column)} / COUNT(${column})`;
    if (kind === 'distinct') return `COUNT(DISTINCT ${column})`;
    if (kind !== 'variance') return `${kind}(${column})`;
    const parts = [`COUNT(${column}) * SUM(${column} * ${column})`, `SUM(${column}) * SUM(${column})`];
    return `(${parts.join(' - ')}) * 1e0 / COUNT(${column}) / COUNT(${column})`;
  };
  const keys = Object.keys(report.keys).join(', ');
  const cells = Object.entries(report.measures).map(([name, { kind }]) => {
    const column = dialect.id(name);
    return `${cellOf(kind, column)} AS ${column}`;
  });
  // MariaDB 10.11 does not see an outer common table expression from within an inner one: all go into one
  // list.
  const own = /^WITH\b/.test(report.sql) ? `,${report.sql.slice('WITH'.length)}` : ` ${report.sql}`;
  return `SELECT ${[keys, ...cells].join(', ')} FROM (WITH ${inputs.join(', ')}${own}) r GROUP BY ${keys}`;
}
