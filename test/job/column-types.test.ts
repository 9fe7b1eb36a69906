/** Types of columns: their names, and what report SQL makes of captured columns (decision 0011, types). */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { setMutation } from '../../src/base/test-build-active.ts';
import {
  changeTable,
  checkReport,
  contributionQueries,
  readRows,
  type CapturedTable,
  type CompiledReport,
  type Measure,
} from '../../src/job/index.ts';
import {
  openEngine,
  parseColumnType,
  type SqlEngine,
  type SqlParam,
  type SqlValue,
} from '../../src/sql/index.ts';
import { codeOf } from '../sql/engine-contract.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';

describe('names of column types', () => {
  it.each([
    ['bigint unsigned', { kind: 'BIGINT', bytes: 8, unsigned: true }],
    ['SMALLINT', { kind: 'BIGINT', bytes: 2, unsigned: false }],
    ['DECIMAL(65,30)', { kind: 'DECIMAL', precision: 65, scale: 30 }],
    ['DATETIME', { kind: 'DATETIME', digits: 6 }],
    ['TIME(0)', { kind: 'TIME', digits: 0 }],
    ['BINARY(4)', { kind: 'BYTES', length: 4, fixed: true }],
    ['BIT(64)', { kind: 'BIT', bits: 64 }],
    [`enum('a,b','it''s','x\\\\y')`, { kind: 'ENUM', members: ['a,b', `it's`, 'x\\y'] }],
    [`SET('(',')')`, { kind: 'SET', members: ['(', ')'] }],
  ])('reads %s', (name, type) => {
    expect(parseColumnType(name)).toEqual(type);
  });

  it.each([
    ...['BIT(65)', 'BINARY(256)', 'DECIMAL(66,0)', 'TIME(7)', 'DATE UNSIGNED', 'ENUM()', `ENUM('a',b)`],
    ...['UUID', 'BIGINT(20)', 'TEXT', ''],
  ])('refuses %s', (name) => {
    expect(() => parseColumnType(name)).toThrow(expect.objectContaining({ code: 'COLUMN_TYPE' }) as Error);
  });
});

const TABLE: CapturedTable = {
  table: 't',
  schemaVersion: 1,
  columns: [
    ['id', 'BIGINT UNSIGNED'],
    ['qty', 'BIGINT UNSIGNED'],
    ['small', 'INT UNSIGNED'],
    ['kind', `ENUM('new','paid')`],
    ['flags', 'BIT(8)'],
    ['took', 'TIME(6)'],
    ['ratio', 'DOUBLE'],
  ].map(([name = '', type = '']) => ({ name, type, nullable: true })),
  primaryKey: ['id'],
  shardKey: 'id',
};
const HUGE = 2n ** 64n - 1n;
const ROWS: readonly (readonly SqlParam[])[] = [
  [1, HUGE, HUGE, 3n, 'new', new Uint8Array([5]), '-01:00:00.5', 0.1],
  [1, HUGE, HUGE - 1n, 0n, 'paid', new Uint8Array([4]), '838:59:59.999999', 0.2],
  [-1, HUGE, HUGE, 3n, 'new', new Uint8Array([5]), '-01:00:00.5', 0.1],
  [1, 7n, 2n ** 63n, 9n, 'paid', new Uint8Array([1]), '10:00:00', 1e10],
  [-1, 8n, 1n, 1n, null, null, null, null],
];

function reportOf(sql: string, keys: Record<string, string>, measures: readonly Measure[]): CompiledReport {
  return {
    format: 1,
    name: 'r',
    source: 's',
    parts: 1,
    database: 'd',
    inputs: [{ alias: 't', kind: 'changes', table: 't' }],
    keys: Object.entries(keys).map(([name, type]) => ({ name, type, nullable: false })),
    measures,
    sql,
  };
}

describe.skipIf(mariadbMissing())('report SQL over exact types, MariaDB', () => {
  let database: FreshDatabase;
  let engine: SqlEngine;

  beforeAll(async () => {
    database = await freshDatabase('types');
    engine = openEngine({ kind: 'mysql', url: database.url });
    const { dialect } = engine;
    const columns = TABLE.columns.map(({ name, type }) => `${name} ${dialect.columnType(type)}`).join(', ');
    const changes = changeTable({ sourceId: 1, table: 't', schemaVersion: 1 });
    await engine.use('test', async (connection) => {
      await connection.query(`CREATE TABLE t (${columns.replace('small BIGINT', 'small INT UNSIGNED')})`);
      const own = '_source BIGINT, _epoch BIGINT, _day DATE, _window BIGINT, _n BIGINT, _w BIGINT';
      await connection.query(`CREATE TABLE ${changes} (${own}, ${columns})`);
      await connection.insertRows(
        changes,
        ['_source', '_epoch', '_day', '_window', '_n', '_w', ...TABLE.columns.map(({ name }) => name)],
        ROWS.map((row, at) => [1, 5n, '2026-11-22', 1, at, ...row]),
      );
    });
  });

  afterAll(async () => {
    await engine.close();
    await database.drop();
  });

  afterEach(() => {
    setMutation('job.unsignedTimesWeight', false);
  });

  const compute = (report: CompiledReport): Promise<(readonly (readonly SqlValue[])[])[]> =>
    engine.use('test', async (connection) => {
      await checkReport({ connection, dialect: engine.dialect, report, tables: [TABLE] });
      const queries = contributionQueries({
        dialect: engine.dialect,
        report,
        sourceId: 1,
        tables: [TABLE],
        of: { windows: [{ window: 1, epoch: 5n, day: '2026-11-22' }] },
        prepared: 1n,
      });
      const results: (readonly (readonly SqlValue[])[])[] = [];
      for (const query of [queries.additive, ...queries.multisets]) {
        results.push(readRows(query, await connection.query(query.sql, query.params)));
      }
      return results;
    });

  const TOTALS = reportOf(
    `SELECT id, COALESCE(kind, '?') AS kind, qty, small - 4 AS rest, flags & 1 AS odd, took,
       CAST(ratio AS DECIMAL(12,1)) AS ratio, t._w AS _w FROM t`,
    { id: 'BIGINT UNSIGNED', kind: 'TEXT(9)' },
    [
      { name: 'qty', kind: 'sum', type: 'BIGINT UNSIGNED' },
      { name: 'rest', kind: 'sum', type: 'BIGINT UNSIGNED' },
      { name: 'odd', kind: 'sum', type: 'BIGINT UNSIGNED' },
      { name: 'ratio', kind: 'sum', type: 'DECIMAL(12,1)' },
      { name: 'took', kind: 'max', type: 'TIME(6)' },
    ],
  );

  it('sums and groups unsigned integers above 2^63, with weights of -1', async () => {
    const [additive, took] = await compute(TOTALS);
    const shown = (additive ?? []).map(([id, kind, ...rest]) => [
      id,
      Buffer.from(kind as Uint8Array).toString(),
      ...rest,
    ]);
    expect(shown).toEqual([
      [7n, 'paid', 1n, '9223372036854775808', 1n, '5', 1n, '1', 1n, '10000000000.0', 1n],
      [8n, '?', -1n, '-1', -1n, '3', -1n, '0', 0n, '0.0', 0n],
      [HUGE, 'new', 0n, '0', 0n, '0', 0n, '0', 0n, '0.0', 0n],
      [HUGE, 'paid', 1n, '18446744073709551614', 1n, '-4', 1n, '0', 1n, '0.2', 1n],
    ]);
    expect((took ?? []).map((row) => row.slice(2))).toEqual([
      ['10:00:00.000000', 1n],
      ['838:59:59.999999', 1n],
    ]);
  });

  it('is seen to fail when an unsigned value is multiplied by a weight', async () => {
    setMutation('job.unsignedTimesWeight', true);
    await expect(compute(TOTALS)).rejects.toMatchObject({ code: 'VALUE_RANGE' });
  });

  it('refuses what an unsigned integer of 64 bits would not fit', async () => {
    const sql = 'SELECT id, qty, t._w AS _w FROM t';
    const sum: Measure = { name: 'qty', kind: 'sum', type: 'BIGINT UNSIGNED' };
    const check = (report: CompiledReport): Promise<unknown> => codeOf(compute(report));
    expect(await check(reportOf(sql, { id: 'BIGINT' }, [sum]))).toBe('MEASURE_TYPE');
    expect(await check(reportOf(sql, { id: 'BIGINT UNSIGNED' }, [{ ...sum, type: 'BIGINT' }]))).toBe(
      'MEASURE_TYPE',
    );
    expect(
      await check(reportOf(sql, { id: 'BIGINT UNSIGNED' }, [{ ...sum, kind: 'max', type: 'BIGINT' }])),
    ).toBe('MEASURE_TYPE');
    // A float is not summed unless it is cast.
    const ratio = reportOf('SELECT id, ratio, t._w AS _w FROM t', { id: 'BIGINT UNSIGNED' }, [
      { name: 'ratio', kind: 'sum', type: 'BIGINT' },
    ]);
    expect(await check(ratio)).toBe('MEASURE_TYPE');
  });

  it('makes a negative value of an unsigned key an error, never a huge one', async () => {
    const report = reportOf('SELECT small - 4 AS k, t._w AS _w FROM t', { k: 'BIGINT UNSIGNED' }, []);
    await expect(compute(report)).rejects.toMatchObject({ code: 'VALUE_RANGE' });
  });
});
