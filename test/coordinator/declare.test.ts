import { describe, expect, it } from 'vitest';
import { touchedColumns } from '../../src/collector/schema/alter-clauses.ts';
import { redefine } from '../../src/collector/schema/schema-change.ts';
import { declaration } from '../../src/coordinator/clients/declare.ts';
import {
  JOB_FORMAT,
  specHash,
  type CapturedTable,
  type CompiledJob,
  type CompiledSource,
} from '../../src/job/index.ts';
import type { DeclareJob } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';

const column = (name: string): CapturedTable['columns'][number] => ({
  name,
  type: 'BIGINT',
  nullable: false,
  declared: 'bigint(20)',
});
const database = { embedded: { file: 'not read here' } };
const table: CapturedTable = {
  table: 'orders',
  schemaVersion: 1,
  columns: [column('id'), column('n')],
  primaryKey: ['id'],
  shardKey: 'id',
};

/** A job over `orders` as it is found in the database, with one report that reads `uses`. */
function compiled(columns: CapturedTable['columns'], uses: readonly string[]): CompiledJob {
  const window = { lengthMs: 1, rowsMax: 1, bytesMax: 1 };
  const shop: CompiledSource = {
    format: JOB_FORMAT,
    name: 'shop',
    engine: 'mysql',
    database,
    tables: [{ ...table, columns }],
    window,
  };
  const group = { name: 'main', engine: 'mysql' as const, database, replicas: [] };
  return {
    format: JOB_FORMAT,
    name: 'job',
    topology: { format: JOB_FORMAT, shards: [{ ...group, slots: [] }] },
    sources: [shop],
    sinks: [{ format: JOB_FORMAT, ...group }],
    reports: [
      {
        format: JOB_FORMAT,
        name: 'sales',
        source: 'shop',
        database: 'main',
        inputs: [{ alias: 'o', kind: 'changes', table: 'orders', uses }],
        keys: [],
        measures: [],
        sql: 'not read here',
        parts: 1,
      },
    ],
    paused: [],
  };
}

function hashOf({ reports }: CompiledJob): string {
  const [report] = reports;
  if (report === undefined) throw new Error('no report');
  return specHash(report);
}

/** `orders` after `sql`, as the collector has told of it. */
function altered(columns: CapturedTable['columns'], sql: string): CompiledSource {
  const change = redefine(table, { ...table, columns }, touchedColumns(sql));
  const [shop] = compiled(table.columns, []).sources;
  if (change === undefined || shop === undefined) throw new Error('nothing was altered');
  return { ...shop, tables: [change.after] };
}

const nothing = {
  source: () => undefined,
  adding: () => undefined,
  formerTables: () => 0,
  reportHash: () => undefined,
  sink: () => undefined,
};

describe('a job that is applied again', () => {
  const more = [...table.columns, column('more')];
  const known = altered(more, 'ALTER TABLE orders ADD more BIGINT, DROP n, ADD n BIGINT');

  it('keeps a source under the schema versions of its log', () => {
    const job = compiled(more, ['id']);
    const before = { ...nothing, source: () => known };
    expect(declaration(JSON.stringify(job), before).sources[0]?.spec).toBe(JSON.stringify(known));
    // Altered, and the collector has not come to it: the log decides, not the file.
    const [later] = compiled([...more, column('later')], ['id']).sources;
    const again = declaration(JSON.stringify({ ...job, sources: [later] }), before);
    expect(again.sources[0]?.spec).toBe(JSON.stringify(known));
    const fresh = nothing;
    expect(declaration(JSON.stringify(job), fresh).sources[0]?.spec).toBe(JSON.stringify(job.sources[0]));
  });

  it('may have other windows, and nothing else of a source changes unseen', () => {
    const job = compiled(table.columns, ['id']);
    const capturedOf = (change: Partial<CompiledSource>): readonly string[] | undefined => {
      const sources = job.sources.map((source) => ({ ...source, ...change }));
      return declaration(JSON.stringify({ ...job, sources }), nothing).sources[0]?.captured;
    };
    const [before, longer] = [capturedOf({}), { lengthMs: 2, rowsMax: 3, bytesMax: 4 }];
    expect(capturedOf({ window: longer })).toEqual(before);
    expect(capturedOf({ tables: [{ ...table, shardKey: 'n' }] })).not.toEqual(before);
    expect(capturedOf({ database: { embedded: { file: 'elsewhere' } } })).not.toEqual(before);
  });

  rule('coordinator.halfCopiedTableRead', 'has no new report over a table that is not copied', () => {
    const lines = { ...table, table: 'lines' };
    const [shop] = compiled(table.columns, []).sources;
    if (shop === undefined) throw new Error('no source');
    const job = compiled(table.columns, ['id']);
    const reads = (read: string, has: readonly CapturedTable[], formerTables = 0): DeclareJob => {
      const sources = [{ ...shop, tables: [table, lines] }];
      const reports = job.reports.map((report) => ({
        ...report,
        inputs: [{ alias: 'o', kind: 'changes' as const, table: read }],
      }));
      const source = (): CompiledSource => ({ ...shop, tables: has });
      const before = { ...nothing, source, formerTables: () => formerTables };
      return declaration(JSON.stringify({ ...job, sources, reports }), before);
    };
    const begins = ['orders', 'lines'].map((name) => `{"table":"${name}","key":[]}`);
    expect(reads('orders', [table]).sources[0]?.begins).toEqual(begins);
    expect(() => reads('orders', [table, lines], 1)).not.toThrow();
    expect(reads('lines', [table, lines]).sources[0]?.captured).toHaveLength(3);
    const refused = expect.objectContaining({ code: 'TABLE_NOT_COPIED' });
    expect(() => reads('lines', [table])).toThrow(refused);
    expect(() => reads('lines', [table, lines], 1)).toThrow(refused);
  });

  rule(
    'coordinator.waitingTablesAnew',
    'has tables that wait to be added as they were declared first',
    () => {
      const [lines, wider] = [table.columns, more].map((columns) => ({ ...table, table: 'lines', columns }));
      const [shop] = compiled(table.columns, []).sources;
      if (shop === undefined || lines === undefined || wider === undefined) throw new Error('no source');
      const whole = { ...shop, tables: [table, lines] };
      const before = { ...nothing, source: () => shop, adding: () => whole };
      const sources = [{ ...shop, tables: [table, wider] }];
      const job = JSON.stringify({ ...compiled(table.columns, ['id']), sources });
      // The store may have tables of them already.
      expect(declaration(job, before).sources[0]).toMatchObject({
        spec: JSON.stringify(whole),
        keptTables: 1,
        kept: JSON.stringify(shop),
      });
      const anew = { ...nothing, source: () => shop };
      expect(declaration(job, anew).sources[0]?.spec).toBe(JSON.stringify(sources[0]));
    },
  );

  rule('coordinator.youngColumnRead', 'has no new report over a column that older rows do not have', () => {
    for (const name of ['more', 'n']) {
      const job = compiled(more, [name]);
      const read = (hash: string | undefined): unknown =>
        declaration(JSON.stringify(job), { ...nothing, source: () => known, reportHash: () => hash });
      expect(() => read(undefined)).toThrow(expect.objectContaining({ code: 'REPORT_COLUMN_YOUNG' }));
      expect(() => read(hashOf(job))).not.toThrow();
    }
  });

  rule('job.usesInHash', 'is the same report when a younger column has the name of a word in its SQL', () => {
    const before = hashOf(compiled(table.columns, ['id']));
    const now = compiled(more, ['id', 'more']);
    expect(hashOf(now)).toBe(before);
    const again = { ...nothing, source: () => known, reportHash: () => before };
    expect(declaration(JSON.stringify(now), again).reports[0]?.specHash).toBe(before);
  });

  rule('coordinator.emptySourceMoves', 'leaves a source without reports in its database', () => {
    const job = { ...compiled(table.columns, []), reports: [] };
    const [main] = job.sinks;
    if (main === undefined) throw new Error('no sink');
    const two = JSON.stringify({ ...job, sinks: [{ ...main, name: 'first' }, main] });
    const sinkOf = (present: string | undefined): string | undefined =>
      declaration(two, { ...nothing, sink: () => present }).sources[0]?.sink;
    expect(sinkOf('main')).toBe('main');
    expect(sinkOf('gone')).toBe('first');
    expect(sinkOf(undefined)).toBe('first');
  });
});
