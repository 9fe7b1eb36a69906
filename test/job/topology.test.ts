import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { TidemarkError } from '../../src/base/index.ts';
import { compileJob, parseJobFile, type JobFile } from '../../src/job/index.ts';
import { bend, embeddedJob, JOB_YAML } from './sample-job.ts';

interface Store {
  mysql: { url: { env: string } };
  slots?: string;
  replicas?: readonly unknown[];
}

const at = (env: string, more: Omit<Store, 'mysql'> = {}): Store => ({ mysql: { url: { env } }, ...more });
const withStores = (stores: Readonly<Record<string, unknown>>): string => bend('stores', stores);
const slotsOf = (file: JobFile): (readonly [string, number, number])[] =>
  file.stores.map(({ name, slots }) => [name, slots.first, slots.last]);

function problem(text: string): TidemarkError {
  try {
    parseJobFile(text);
  } catch (error) {
    if (error instanceof TidemarkError) return error;
    throw error;
  }
  throw new Error('the job was accepted');
}

describe('the stores of a job file', () => {
  it('share the slots evenly, in the order of the file', () => {
    const file = parseJobFile(withStores({ b: at('B'), a: at('A'), c: at('C') }));
    expect(slotsOf(file)).toEqual([
      ['b', 0, 340],
      ['a', 341, 681],
      ['c', 682, 1_023],
    ]);
  });

  it('hold the slots that they are given, and have replicas', () => {
    const replicas = [{ mysql: { url: { env: 'A2' } } }, { mysql: { url: { file: 'a3' } } }];
    const text = withStores({
      b: at('B', { slots: '900-1023' }),
      a: at('A', { slots: '0 - 899', replicas }),
    });
    const file = parseJobFile(text);
    expect(slotsOf(file)).toEqual([
      ['b', 900, 1_023],
      ['a', 0, 899],
    ]);
    const { topology } = compileJob({ file, tablesOf });
    expect(topology.shards[1]).toEqual({
      name: 'a',
      engine: 'mysql',
      database: { mysql: { url: { env: 'A' } } },
      replicas,
      slots: [{ first: 0, last: 899 }],
    });
  });

  it.each<[string, Readonly<Record<string, unknown>>, string, string]>([
    [
      'a lost slot in the middle',
      { a: at('A', { slots: '0-510' }), b: at('B', { slots: '512-1023' }) },
      'TOPOLOGY_INVALID',
      'stores.b.slots: slots 511-511 have no shard',
    ],
    [
      'a lost slot at the end',
      { a: at('A', { slots: '0-1022' }) },
      'TOPOLOGY_INVALID',
      'stores: slots 1023-1023 have no shard',
    ],
    [
      'a slot twice',
      { a: at('A', { slots: '0-600' }), b: at('B', { slots: '500-1023' }) },
      'TOPOLOGY_INVALID',
      'stores.b.slots: slots 500-600 are those of a already',
    ],
    [
      'a range inside another',
      { a: at('A', { slots: '0-1023' }), b: at('B', { slots: '5-7' }) },
      'TOPOLOGY_INVALID',
      'stores.b.slots: slots 5-7 are those of a already',
    ],
    [
      'slots of some only',
      { a: at('A', { slots: '0-1023' }), b: at('B') },
      'TOPOLOGY_INVALID',
      'stores.b: has no slots, and others have',
    ],
    [
      'a range that is none',
      { a: at('A', { slots: '0-1024' }) },
      'JOB_INVALID',
      'stores.a.slots: slots are a range FIRST-LAST of 0 to 1023',
    ],
    [
      'a range backwards',
      { a: at('A', { slots: '9-3' }) },
      'JOB_INVALID',
      'stores.a.slots: slots are a range',
    ],
    [
      'one database for two shards',
      { a: at('A'), b: at('A') },
      'TOPOLOGY_INVALID',
      'stores.b: stores.a is the same database',
    ],
    [
      'a replica that is the primary of another',
      { a: at('A', { replicas: [at('B')] }), b: at('B') },
      'TOPOLOGY_INVALID',
      'stores.b: stores.a.replicas.0 is the same database',
    ],
    [
      'an unknown key',
      { a: { ...at('A'), slot: '0-1023' } },
      'JOB_INVALID',
      'stores.a.slot: unknown key; did you mean slots?',
    ],
    [
      'an unknown key of a replica',
      { a: at('A', { replicas: [{ mysqk: {} }] }) },
      'JOB_INVALID',
      'stores.a.replicas.0.mysqk: unknown key; did you mean mysql?',
    ],
    ['a store without a database', { a: { slots: '0-1023' } }, 'JOB_INVALID', 'stores.a: name one database'],
  ])('are refused for %s, with the place', (_what, stores, code, message) => {
    const error = problem(withStores(stores));
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(error.message).toMatch(/^\d+:\d+ /);
  });

  it('have no replicas on the embedded engine', () => {
    const job = embeddedJob();
    job['stores'] = { a: { embedded: { file: 'a.db' }, replicas: [{ embedded: { file: 'b.db' } }] } };
    const yaml = parse(JOB_YAML) as Record<string, unknown>;
    expect(problem(stringify({ ...yaml, ...job, reports: {} })).message).toContain('at least one');
    const { reports } = yaml as { reports: Record<string, { measures: object }> };
    for (const report of Object.values(reports)) report.measures = { orders: { kind: 'count' } };
    expect(problem(stringify({ ...yaml, ...job, reports })).message).toContain(
      'stores.a.replicas: the embedded engine does not replicate',
    );
  });
});

const tablesOf = (source: { readonly tables: readonly { readonly table: string }[] }) =>
  source.tables.map(({ table }) => ({
    table,
    schemaVersion: 1,
    columns: ['id', 'merchant_id'].map((name) => ({ name, type: 'BIGINT', nullable: false })),
    primaryKey: ['id'],
    shardKey: 'id',
  }));

describe('the parts of a report', () => {
  const parts = (tables: readonly unknown[]): number | undefined => {
    const yaml = parse(withStores({ a: at('A'), b: at('B') })) as {
      sources: { shop: { tables: readonly unknown[] } };
    };
    yaml.sources.shop.tables = tables;
    const file = parseJobFile(stringify(yaml));
    return compileJob({ file, tablesOf }).reports[0]?.parts;
  };

  it('are as many as shards, or one if every shard has all of its changes', () => {
    expect(parts(['orders'])).toBe(2);
    expect(parts([{ table: 'orders', shardKey: 'merchant_id' }])).toBe(2);
    expect(parts([{ table: 'orders', replicated: true }])).toBe(1);
  });

  it('are not told by a table that is both replicated and sharded', () => {
    const table = { table: 'orders', replicated: true, shardKey: 'id' };
    expect(problem(bend('sources.shop.tables', [table])).message).toContain(
      '{table: NAME, replicated: true}',
    );
  });
});
