/** The sample's reports and the verifier's SQL were written apart: here they meet, on both engines. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import {
  runLoad,
  SAMPLE_REPORTS,
  sampleSchema,
  seedDimensions,
  seededRandom,
  type LoadTotals,
  type SampleReport,
} from '../../src/dev/sample/index.ts';
import { averageEquals, compareReport, expectedReports } from '../../src/dev/verify/index.ts';
import { openEngine, type Dialect, type ResultSet, type SqlEngine } from '../../src/sql/index.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';

/** What a report shows, computed in one go: its SQL over the whole tables, every row with weight 1. */
function wholeReportSql(report: SampleReport, dialect: Dialect): string {
  const inputs = Object.entries(report.inputs).map(([alias, input]) =>
    'changes' in input
      ? `${alias} AS (SELECT t.*, 1 AS _w FROM ${input.changes} t)`
      : `${alias} AS (SELECT * FROM ${input.dimension})`,
  );
  const keys = Object.keys(report.keys).join(', ');
  const cells = Object.entries(report.measures).map(([name, { kind }]) => {
    const column = dialect.id(name);
    return kind === 'avg'
      ? `SUM(${column}) / COUNT(${column}) AS ${column}`
      : `${kind}(${column}) AS ${column}`;
  });
  // MariaDB 10.11 does not see an outer common table expression from within an inner one: all go into one list.
  const own = /^WITH\b/.test(report.sql) ? `,${report.sql.slice('WITH'.length)}` : ` ${report.sql}`;
  const whole = `WITH ${inputs.join(', ')}${own}`;
  return `SELECT ${[keys, ...cells].join(', ')} FROM (${whole}) r GROUP BY ${keys}`;
}

/** The embedded engine divides integers as integers: averages are compared as sums there. */
function withoutAverages(report: SampleReport, kind: SqlEngine['kind']): SampleReport {
  if (kind === 'mysql') return report;
  const measures = Object.entries(report.measures).filter(([, { kind: measure }]) => measure !== 'avg');
  return { ...report, measures: Object.fromEntries(measures) };
}

async function loadSample(source: SqlEngine, changes: number): Promise<LoadTotals> {
  const totals: LoadTotals = { changes: 0, transactions: 0, rolledBack: 0, failed: 0 };
  await source.use('test', async (connection) => {
    for (const statement of sampleSchema(source.kind)) await connection.query(statement);
    await seedDimensions(connection);
  });
  // The load stops between transactions once it has made enough changes.
  const enough = {
    get aborted() {
      return totals.changes >= changes;
    },
  } as AbortSignal;
  await runLoad(
    { source, random: seededRandom(7), clock: systemClock, rate: 20_000, signal: enough },
    totals,
  );
  return totals;
}

async function query(engine: SqlEngine, sql: string): Promise<ResultSet> {
  return engine.use('test', (connection) => connection.query(sql));
}

function agreesOnEveryReport(open: () => Promise<SqlEngine>): void {
  let source: SqlEngine;
  beforeAll(async () => {
    source = await open();
    const totals = await loadSample(source, 2_500);
    expect(totals.failed).toBe(0);
    expect(totals.changes).toBeGreaterThanOrEqual(2_500);
  });
  afterAll(() => source.close());

  it.each(SAMPLE_REPORTS.map((report) => [report.name, report] as const))('%s', async (name, report) => {
    const expected = expectedReports(source.kind).find((item) => item.report === name);
    expect(expected).toBeDefined();
    const actual = await query(source, wholeReportSql(withoutAverages(report, source.kind), source.dialect));
    const want = await query(source, expected?.sql ?? '');
    const withSums = source.kind === 'mysql' ? want : dropAverages(want);
    const comparison = compareReport({
      report: name,
      keys: expected?.keys ?? [],
      expected: withSums,
      actual,
    });
    expect(comparison.wrong).toEqual([]);
    expect(comparison.rows).toBeGreaterThan(3);
  });
}

function dropAverages(result: ResultSet): ResultSet {
  const kept = result.columns.flatMap((column, index) => (column.name.includes(':') ? [] : [index]));
  return {
    ...result,
    columns: result.columns.filter((_, index) => kept.includes(index)),
    rows: result.rows.map((row) => row.filter((_, index) => kept.includes(index))),
  };
}

describe('the sample on the embedded engine', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-sample-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  agreesOnEveryReport(() =>
    Promise.resolve(openEngine({ kind: 'embedded', file: join(folder, 'source.db') })),
  );
});

describe.skipIf(mariadbMissing())('the sample on MariaDB', () => {
  agreesOnEveryReport(async () => openEngine({ kind: 'mysql', url: (await freshDatabase('sample')).url }));
});

describe('averageEquals', () => {
  it.each([
    [10n, 4n, '2.5000', true],
    [10n, 3n, '3.3333', true],
    [20n, 3n, '6.6667', true],
    [20n, 3n, '6.6666', false],
    [-20n, 3n, '-6.6667', true],
    [-20n, 3n, '-6.6666', false],
    [10n, 3n, 10 / 3, true],
    [10n, 3n, 3.3333, false],
    [9_007_199_254_740_993n, 1n, '9007199254740993.0000', true],
    [9_007_199_254_740_993n, 1n, '9007199254740992.0000', false],
    [10n, 5n, null, false],
  ] as const)('%s / %s against %s is %s', (sum, count, actual, equal) => {
    expect(averageEquals(sum, count, actual)).toBe(equal);
  });
});
