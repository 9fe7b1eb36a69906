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

/** `orders` after `sql`, as the collector has told of it. */
function altered(columns: CapturedTable['columns'], sql: string): CompiledSource {
  const change = redefine(table, { ...table, columns }, touchedColumns(sql));
  const [shop] = compiled(table.columns, []).sources;
  if (change === undefined || shop === undefined) throw new Error('nothing was altered');
  return { ...shop, tables: [change.after] };
}

describe('a job that is applied again', () => {
  const more = [...table.columns, column('more')];
  const known = altered(more, 'ALTER TABLE orders ADD more BIGINT, DROP n, ADD n BIGINT');

  it('keeps a source under the schema versions of its log', () => {
    const job = compiled(more, ['id']);
    const before = { source: () => known, reportHash: () => undefined };
    expect(declaration(JSON.stringify(job), before).sources[0]?.spec).toBe(JSON.stringify(known));
    // Altered, and the collector has not come to it: the log decides, not the file.
    const [later] = compiled([...more, column('later')], ['id']).sources;
    const again = declaration(JSON.stringify({ ...job, sources: [later] }), before);
    expect(again.sources[0]?.spec).toBe(JSON.stringify(known));
    const fresh = { source: () => undefined, reportHash: () => undefined };
    expect(declaration(JSON.stringify(job), fresh).sources[0]?.spec).toBe(JSON.stringify(job.sources[0]));
  });

  rule('coordinator.youngColumnRead', 'has no new report over a column that older rows do not have', () => {
    for (const name of ['more', 'n']) {
      const job = compiled(more, [name]);
      const read = (hash: string | undefined): unknown =>
        declaration(JSON.stringify(job), { source: () => known, reportHash: () => hash });
      expect(() => read(undefined)).toThrow(expect.objectContaining({ code: 'REPORT_COLUMN_YOUNG' }));
      const [report] = job.reports;
      expect(() => read(specHash(report ?? {}))).not.toThrow();
    }
  });
});
