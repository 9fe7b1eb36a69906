/**
 * A report database with one report, for tests of the merge, and the way from weighted rows to a
 * contribution.
 */
import { randomBytes } from 'node:crypto';
import { systemClock } from '../../src/base/index.ts';
import { asToken } from '../../src/base/fencing-token.ts';
import type { CompiledReport } from '../../src/job/index.ts';
import { layoutOf, type ReportLayout } from '../../src/executor/sink/layout.ts';
import type { Contribution } from '../../src/executor/sink/merge.ts';
import { prepareReport } from '../../src/executor/sink/report-view.ts';
import type { Scope, SinkGrant } from '../../src/executor/sink/sink-epoch.ts';
import { inTransaction, type SinkContext } from '../../src/executor/sink/transaction.ts';
import { registerReport } from '../../src/executor/sink/watermark.ts';
import type { SqlEngine, SqlParam } from '../../src/sql/index.ts';
import type { WeightedRow } from './merge-model.ts';
import { prepareSink } from './sink-fixture.ts';

/** Every token and epoch of these tests is above 2^53. */
export const TOKEN_BASE = 40_000n << 40n;

export const REPORT: CompiledReport = {
  format: 1,
  name: 'sales',
  source: 'shop',
  database: 'reports',
  inputs: [{ alias: 'o', kind: 'changes', table: 'orders' }],
  keys: [
    { name: 'case_no', type: 'BIGINT', nullable: false },
    { name: 'name', type: 'TEXT(16)', nullable: false },
  ],
  measures: [
    { name: 'n', kind: 'count', type: 'BIGINT' },
    { name: 'total', kind: 'sum', type: 'BIGINT' },
    { name: 'mean', kind: 'avg', type: 'BIGINT' },
    { name: 'low', kind: 'min', type: 'BIGINT' },
    { name: 'high', kind: 'max', type: 'TEXT(16)' },
  ],
  sql: 'SELECT 1',
  parts: 1,
};

export interface Sink {
  readonly engine: SqlEngine;
  readonly layout: ReportLayout;
  readonly grant: SinkGrant;
  readonly context: SinkContext;
}

/** Makes an engine's database a report database with the test's report in it. */
export async function makeSink(engine: SqlEngine): Promise<Sink> {
  const layout = layoutOf({ reportId: 7, generation: 1 }, REPORT);
  const grant = { clusterId: randomBytes(16).toString('hex'), epoch: asToken(TOKEN_BASE + 5n) };
  await prepareSink(engine, grant);
  await prepareReport(engine, { ...grant, prepared: asToken(TOKEN_BASE), sourceId: 0 }, layout);
  return { engine, layout, grant, context: contextOf(engine) };
}

/** Makes a report ready for the windows of one more source. */
export async function registerSource(
  { engine, grant }: Sink,
  scope: Scope,
  reportName: string,
): Promise<void> {
  await engine.use('test', (connection) =>
    inTransaction(connection, () =>
      registerReport(connection, engine.dialect, { ...scope, epoch: grant.epoch }, reportName),
    ),
  );
}

export function contextOf(engine: SqlEngine): SinkContext {
  return {
    engine,
    clock: systemClock,
    random: Math.random,
    track: () => () => undefined,
    marker: `tidemark test ${randomBytes(8).toString('hex')}`,
    cancelled: () => false,
    log: { warn: () => undefined },
  };
}

/** Groups weighted rows as the report's SQL templates do. */
export function contributionOf(caseNo: number, rows: readonly WeightedRow[]): Contribution {
  const names = [...new Set(rows.map((row) => row.name))];
  const additive = names.map((name): SqlParam[] => {
    const own = rows.filter((row) => row.name === name);
    const rowCount = own.reduce((sum, row) => sum + row.weight, 0n);
    const nonNull = own.reduce((sum, row) => sum + (row.amount === null ? 0n : row.weight), 0n);
    const total = own.reduce((sum, row) => sum + row.weight * (row.amount ?? 0n), 0n);
    return [caseNo, Buffer.from(name), rowCount, nonNull, total, nonNull, total, nonNull];
  });
  return {
    additive,
    multisets: [
      members(caseNo, rows, (row) => row.amount),
      members(caseNo, rows, (row) => (row.label === null ? null : row.label)).map((row) =>
        row.map((value, at) => (at === 2 ? Buffer.from(String(value)) : value)),
      ),
    ],
  };
}

function members(
  caseNo: number,
  rows: readonly WeightedRow[],
  of: (row: WeightedRow) => bigint | string | null,
): SqlParam[][] {
  const weights = new Map<string, { name: string; value: bigint | string; weight: bigint }>();
  for (const row of rows) {
    const value = of(row);
    if (value === null) continue;
    const key = `${row.name} ${value}`;
    const member = weights.get(key) ?? { name: row.name, value, weight: 0n };
    member.weight += row.weight;
    weights.set(key, member);
  }
  return [...weights.values()]
    .sort((a, b) => (a.value < b.value ? -1 : 1))
    .map(({ name, value, weight }) => [caseNo, Buffer.from(name), value, weight]);
}
