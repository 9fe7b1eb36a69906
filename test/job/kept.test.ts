import { describe, expect, it } from 'vitest';
import {
  compileJob,
  isKept,
  keptSource,
  parseJobFile,
  specHash,
  withDimensions,
  type CapturedTable,
  type CompiledReport,
  type CompiledSource,
  type JobSource,
} from '../../src/job/index.ts';
import { rule } from '../support/rule.ts';

const column = (name: string) => ({ name, type: 'BIGINT', nullable: false });
const captured = (table: string, shardKey: string | null): CapturedTable => ({
  table,
  schemaVersion: 1,
  columns: [column('id'), column('shop')],
  primaryKey: ['shop', 'id'],
  shardKey,
});
const jobYaml = (tables: string): string => `version: 1
job: shop
sources:
  shop:
    embedded: { file: shop.db }
    tables: [${tables}]
    window: { lengthMs: 700 }
stores: { main: { embedded: { file: store.db } } }
databases: { reports: { embedded: { file: reports.db } } }
reports:
  by_shop:
    inputs: { o: { changes: orders }, s: { dimension: shops } }
    keys: { shop: BIGINT }
    measures: { orders: { kind: count } }
    sql: SELECT o.shop AS shop, 1 AS orders, o._w AS _w FROM o JOIN s ON s.id = o.shop
`;
const sourceOf = (tables: string): JobSource => {
  const [source] = parseJobFile(jobYaml(tables)).sources;
  if (source === undefined) throw new Error('no source');
  return source;
};
/** Declared when the primary key began with `id`. */
const declared: CompiledSource = {
  format: 2,
  name: 'shop',
  engine: 'embedded',
  database: { embedded: { file: 'shop.db' } },
  tables: [captured('orders', 'id'), captured('lines', 'shop'), captured('rates', null)],
  window: { lengthMs: 300, rowsMax: 1, bytesMax: 1_024 },
};
const ALL = 'orders, {table: lines, shardKey: shop}, {table: rates, replicated: true}';

describe('a source whose windows are sealed', () => {
  rule('job.shardKeyOfToday', 'keeps its shard keys, and its tables in their order', () => {
    for (const tables of [ALL, 'rates, lines, orders', '{table: orders, shardKey: id}, lines, rates']) {
      const kept = keptSource(sourceOf(tables), declared);
      expect(kept.tables).toEqual([
        { table: 'orders', shardKey: 'id' },
        { table: 'lines', shardKey: 'shop' },
        { table: 'rates', shardKey: null },
      ]);
      expect(kept.window.lengthMs).toBe(700);
    }
  });

  it.each([
    [
      'table orders is sharded by id and cannot be sharded by shop',
      ALL.replace('orders', '{table: orders, shardKey: shop}'),
    ],
    [
      'table rates is replicated and cannot be sharded by id',
      ALL.replace('replicated: true', 'shardKey: id'),
    ],
    [
      'table lines is sharded by shop and cannot be replicated',
      ALL.replace('shardKey: shop', 'replicated: true'),
    ],
    ['table rates cannot be left out', 'orders, lines'],
    ['table more cannot be added, as the source is an embedded database', `${ALL}, more`],
  ])('is refused: %s', (message, tables) => {
    expect(() => keptSource(sourceOf(tables), declared)).toThrow(
      expect.objectContaining({
        code: 'REPORT_ON_SEALED_SOURCE',
        message: `source shop has sealed windows: ${message}`,
        next: expect.stringMatching(/^Write it as it was.* Replace the source/) as string,
      }),
    );
  });

  it('on MySQL may get tables, which come after those that it has', () => {
    const source = sourceOf(`{table: more, shardKey: shop}, ${ALL}`);
    const { tables } = keptSource(source, { ...declared, engine: 'mysql' });
    expect(tables.map(({ table }) => table)).toEqual(['orders', 'lines', 'rates', 'more']);
    expect(tables[3]).toEqual({ table: 'more', shardKey: 'shop' });
  });

  it('is refused in another database', () => {
    const moved = { ...sourceOf(ALL), database: { embedded: { file: 'other.db' } } };
    expect(() => keptSource(moved, declared)).toThrow('its database cannot change');
  });
});

describe('a report over dimensions', () => {
  const compiled = (sql = ''): CompiledReport => {
    const file = parseJobFile(jobYaml(ALL).replace('1 AS orders', `1 ${sql} AS orders`));
    const [report] = compileJob({ file, tablesOf: () => declared.tables }).reports;
    if (report === undefined) throw new Error('no report');
    return report;
  };
  const then = withDimensions(compiled(), () => [column('id')]);

  rule('job.dimensionOfToday', 'is left as it is whatever its dimension has by now', () => {
    expect(then.inputs[1]).toMatchObject({ table: 'shops', columns: [column('id')] });
    expect(isKept(compiled(), then)).toBe(true);
    expect(isKept(compiled('+ 1'), then)).toBe(false);
  });

  it('is another generation once it is made over other columns', () => {
    const now = withDimensions(compiled(), () => [column('id'), column('more')]);
    expect(specHash(now)).not.toBe(specHash(then));
  });
});
