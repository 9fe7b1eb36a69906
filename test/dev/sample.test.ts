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
  type LoadTotals,
} from '../../src/dev/sample/index.ts';
import { averageEquals, compareReport, expectedReports } from '../../src/dev/verify/index.ts';
import { openEngine, type ResultSet, type SqlEngine } from '../../src/sql/index.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';
import { wholeReportSql } from './whole-report.ts';

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
  await runLoad({ source, seed: 7, clock: systemClock, rate: 20_000, signal: enough }, totals);
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
    const actual = await query(source, wholeReportSql(report, source.dialect));
    const want = await query(source, expected?.sql ?? '');
    const comparison = compareReport({ report: name, keys: expected?.keys ?? [], expected: want, actual });
    expect(comparison.wrong).toEqual([]);
    expect(comparison.rows).toBeGreaterThan(3);
  });
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
