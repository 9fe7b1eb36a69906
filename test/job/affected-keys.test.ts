import { describe, expect, it } from 'vitest';
import { isTidemarkError, type TidemarkError } from '../../src/base/index.ts';
import { affectedKeysQuery, compileJob, parseJobFile, type CompiledReport } from '../../src/job/index.ts';
import type { CapturedTable } from '../../src/job/index.ts';
import { mysqlDialect } from '../../src/sql/mysql-dialect.ts';
import { rule } from '../support/rule.ts';

const captured = (table: string, shardKey: string | null): CapturedTable => ({
  table,
  schemaVersion: 1,
  columns: [
    { name: 'id', type: 'BIGINT', nullable: false },
    { name: 'shop', type: 'BIGINT', nullable: true },
    { name: 'country', type: 'TEXT(2)', nullable: true },
    { name: 'code', type: 'TEXT(9)', nullable: true },
  ],
  primaryKey: ['id'],
  shardKey,
});
const TABLES = [captured('orders', 'shop'), captured('shops', 'shop'), captured('rates', null)];

type Inputs = Readonly<Record<string, object>>;
const O: Inputs = { o: { changes: 'orders' } };
const O_S: Inputs = { o: { changes: 'orders' }, s: { changes: 'shops' } };

interface Asked {
  readonly inputs?: Inputs;
  readonly keys?: Readonly<Record<string, string>>;
  readonly shards?: number;
  readonly measure?: object;
}

function compile(sql: string, asked: Asked = {}): CompiledReport {
  const { inputs = O, keys = { shop: 'BIGINT' }, shards = 1 } = asked;
  const database = { mysql: { url: { env: 'URL' } } };
  const stores = Array.from({ length: shards }, (_none, at) => {
    return [`s${at}`, { mysql: { url: { env: `URL_${at}` } } }] as const;
  });
  const tables = TABLES.map(({ table, shardKey }) =>
    shardKey === null ? { table, replicated: true } : { table, shardKey },
  );
  const measures = { n: asked.measure ?? { kind: 'value', type: 'BIGINT' } };
  const report = { class: 'affectedKeys', inputs, keys, measures, sql };
  const job = {
    ...{ version: 1, job: 'shop', sources: { shop: { ...database, tables } } },
    ...{ stores: Object.fromEntries(stores), databases: { reports: database }, reports: { sales: report } },
  };
  const file = parseJobFile(JSON.stringify(job));
  const { reports } = compileJob({ file, tablesOf: () => TABLES });
  const [compiled] = reports;
  if (compiled === undefined) throw new Error('a job has a report');
  return compiled;
}

function refusal(sql: string, asked: Asked = {}): TidemarkError {
  try {
    compile(sql, asked);
  } catch (error) {
    if (isTidemarkError(error)) return error;
    throw error;
  }
  throw new Error('it is not refused');
}

const touched = (sql: string, asked?: Asked): unknown => compile(sql, asked).affectedKeys?.touched;
const narrowed = (sql: string, asked?: Asked): unknown => compile(sql, asked).affectedKeys?.narrowed;

const LEFT = 'SELECT s.shop, COUNT(o.id) AS n FROM s LEFT JOIN o ON o.shop = s.shop GROUP BY s.shop';

describe('the keys that a changed row touches', () => {
  it('are its own where they are columns of it', () => {
    for (const sql of [
      'SELECT shop, COUNT(*) AS n FROM o GROUP BY shop HAVING COUNT(*) > 1',
      'SELECT x.shop AS shop, SUM(x.id) AS n FROM o AS x GROUP BY 1 ORDER BY 2',
      'SELECT DISTINCT shop, 1 AS n FROM o',
      'SELECT shop, RANK() OVER (PARTITION BY shop ORDER BY id) AS n FROM o',
      'SELECT shop, COUNT(*) AS n FROM o GROUP BY country, shop',
    ]) {
      expect(touched(sql), sql).toEqual([{ alias: 'o', sql: 'SELECT `shop` AS `shop` FROM `o`' }]);
      expect(narrowed(sql), sql).toEqual([{ alias: 'o', columns: ['shop'] }]);
    }
  });

  it('are those of a column that is equal, also on the side of an outer join that may be missing', () => {
    expect(touched(LEFT, { inputs: O_S })).toEqual([
      { alias: 'o', sql: 'SELECT `shop` AS `shop` FROM `o`' },
      { alias: 's', sql: 'SELECT `shop` AS `shop` FROM `s`' },
    ]);
    expect(narrowed(LEFT, { inputs: O_S })).toHaveLength(2);
  });

  it('are found by the same join where they lie in another table', () => {
    const sql = 'SELECT s.country, COUNT(*) AS n FROM o JOIN s ON s.shop = o.shop WHERE o.id > 3 GROUP BY 1';
    const asked = { inputs: O_S, keys: { country: 'TEXT(2)' } };
    expect(touched(sql, asked)).toEqual([
      {
        alias: 'o',
        sql: 'SELECT s.country AS `country`\nFROM o JOIN s ON s.shop = o.shop WHERE o.id > 3',
      },
      { alias: 's', sql: 'SELECT `country` AS `country` FROM `s`' },
    ]);
    expect(narrowed(sql, asked)).toEqual([{ alias: 's', columns: ['country'] }]);
  });

  it('are those of each branch of a union', () => {
    const sql = 'SELECT shop, 1 AS n FROM o WHERE id > 1 UNION SELECT id, 2 FROM o WHERE id < 1';
    expect(touched(sql)).toEqual([
      { alias: 'o', sql: 'SELECT `shop` AS `shop` FROM `o`\nUNION ALL\nSELECT `id` AS `shop` FROM `o`' },
    ]);
    expect(narrowed(sql)).toEqual([]);
  });

  it.each([
    ['a window over all rows', 'SELECT shop, RANK() OVER (ORDER BY id) AS n FROM o'],
    ['a named window', 'SELECT shop, RANK() OVER w AS n FROM o WINDOW w AS (PARTITION BY shop)'],
    ['another partition', 'SELECT shop, COUNT(*) OVER (PARTITION BY country) AS n FROM o'],
    ['another group', 'SELECT MAX(shop) AS shop, COUNT(*) AS n FROM o GROUP BY country'],
    ['one group of all', 'SELECT MAX(shop) AS shop, COUNT(*) AS n FROM o'],
    ['a limit', 'SELECT shop, id AS n FROM o ORDER BY id LIMIT 3'],
    ['a rollup', 'SELECT shop, COUNT(*) AS n FROM o GROUP BY shop WITH ROLLUP'],
    ['a subquery over all rows', 'SELECT shop, (SELECT COUNT(*) FROM o) AS n FROM o'],
    ['a derived table', 'SELECT shop, n FROM (SELECT shop, COUNT(*) AS n FROM o GROUP BY shop) AS t'],
    ['a WITH', 'WITH t AS (SELECT shop, 1 AS n FROM o) SELECT shop, n FROM t'],
    ['all columns', 'SELECT o.*, 1 AS n FROM o'],
    ['a table that is read twice', 'SELECT o.shop, 1 AS n FROM o JOIN o AS p ON p.id = o.id'],
  ])('are asked for where the text does not show them: %s', (_what, sql) => {
    expect(refusal(sql)).toMatchObject({
      code: 'TOUCHED_UNKNOWN',
      message: expect.stringContaining('write touched: SELECT shop for o') as string,
    });
    const told = { inputs: { o: { changes: 'orders', touched: 'SELECT shop FROM o' } } };
    expect(touched(sql, told)).toEqual([{ alias: 'o', sql: 'SELECT shop FROM o' }]);
    expect(narrowed(sql, told)).toEqual([]);
  });

  it.each([
    [
      'an equality of another join',
      's LEFT JOIN o ON o.id = s.id LEFT JOIN r ON r.id = s.id AND o.shop = s.shop',
    ],
    ['an alternative', 's LEFT JOIN o ON o.shop = s.shop OR o.id = 1'],
    ['a right join', 'o RIGHT JOIN s ON o.shop = s.shop'],
    ['a nested join', 's LEFT JOIN (o JOIN r ON r.id = o.id) ON o.shop = s.shop'],
    ['columns of two types', 's LEFT JOIN o ON o.code = s.shop'],
  ])('are asked for beside an outer join: %s', (_what, from) => {
    const inputs = { ...O_S, r: { changes: 'rates', touched: 'SELECT id AS shop FROM r' } };
    const sql = `SELECT s.shop, COUNT(o.id) AS n FROM ${from} GROUP BY s.shop`;
    expect(refusal(sql, { inputs }).code).toBe('TOUCHED_UNKNOWN');
  });

  it('are asked for where a key is of the table that may be missing: it is NULL then', () => {
    const sql = LEFT.replaceAll('s.shop,', 'o.shop,').replace('BY s.shop', 'BY o.shop');
    for (const one of [sql, sql.replace('LEFT JOIN', 'left outer join')]) {
      expect(refusal(one, { inputs: O_S }).code).toBe('TOUCHED_UNKNOWN');
    }
  });

  it('need not be told for an input that only finds keys of others', () => {
    const inputs = {
      o: { changes: 'orders', touched: 'SELECT p.shop FROM o JOIN p ON p.country = o.country' },
      p: { changes: 'orders' },
    };
    const sql = 'SELECT shop, RANK() OVER (PARTITION BY country ORDER BY id) AS n FROM o';
    expect(touched(sql, { inputs })).toEqual([{ alias: 'o', sql: inputs.o.touched }]);
  });

  rule('job.paddedKeys', 'are texts without blanks at their end, as MySQL groups them', () => {
    const keys = { country: 'TEXT(2)' };
    const report = compile('SELECT country, COUNT(*) AS n FROM o GROUP BY country', { keys });
    const windows = [{ window: 2, epoch: 1n, day: '2026-11-22' }];
    const of = { dialect: mysqlDialect, report, sourceId: 1, tables: TABLES, of: { windows }, prepared: 1n };
    expect(affectedKeysQuery(of).sql.match(/RTRIM\(`country`\)/g)).toHaveLength(2);
  });
});

describe('a report of class affectedKeys', () => {
  it.each([
    ['SELECT shop, 1 AS n FROM x', {}, 'SQL_INVALID', 'x is no input of this report'],
    ['SELECT shop, (SELECT MAX(id) FROM x) AS n FROM o', {}, 'SQL_INVALID', 'x is no input of this report'],
    ['SELECT shop, NOW() AS n FROM o', {}, 'SQL_INVALID', 'NOW gives another value each time'],
    ['DELETE FROM o', {}, 'SQL_WRITES', 'DELETE is no SELECT'],
    [
      LEFT,
      { inputs: { o: { state: 'orders' }, s: { changes: 'shops' } } },
      'JOB_INVALID',
      'write changes: TABLE',
    ],
    [
      LEFT,
      { inputs: { ...O_S, s: { changes: 'shops', touched: 'SELECT 1 FROM y' } } },
      'SQL_INVALID',
      'touched: SQL',
    ],
    [
      'SELECT shop, 1 AS n FROM o',
      { measure: { kind: 'count' } },
      'MEASURE_TYPE',
      'each measure is of kind value',
    ],
  ])('%s %j is %s', (sql, asked: Asked, code, message) => {
    expect(refusal(sql, asked)).toMatchObject({ code, message: expect.stringContaining(message) as string });
  });

  it('is computed on several shards where its keys contain the shard key, else gathered in one task', () => {
    const grouped = (key: string): string => `SELECT ${key}, COUNT(*) AS n FROM o GROUP BY ${key}`;
    expect(compile(grouped('shop'), { shards: 2 }).parts).toBe(2);
    expect(compile(LEFT, { inputs: O_S, shards: 2 }).parts).toBe(2);
    const country = { keys: { country: 'TEXT(2)' } };
    expect(compile(grouped('country'), country).parts).toBe(1);
    const gathered = { parts: 1, gathered: true };
    expect(compile(grouped('country'), { ...country, shards: 2 })).toMatchObject(gathered);
    const rates = { inputs: { r: { changes: 'rates' } }, ...country, shards: 2 };
    expect(compile('SELECT country, COUNT(*) AS n FROM r GROUP BY country', rates).parts).toBe(1);
    const hidden = { inputs: { o: { changes: 'orders', touched: 'SELECT shop FROM o' } }, shards: 2 };
    expect(compile('SELECT shop, RANK() OVER (ORDER BY id) AS n FROM o', hidden)).toMatchObject(gathered);
    expect(
      compile('SELECT s.shop, COUNT(o.id) AS n FROM s LEFT JOIN o ON o.id = s.shop GROUP BY s.shop', {
        inputs: { ...O_S, o: { changes: 'orders', touched: 'SELECT id AS shop FROM o' } },
        shards: 2,
      }),
    ).toMatchObject(gathered);
  });

  it('has cells that the SQL gives, which no other class has', () => {
    const job = { kind: 'value', type: 'DOUBLE' };
    expect(compile('SELECT shop, id / 3 AS n FROM o', { measure: job }).measures).toEqual([
      { name: 'n', ...job },
    ]);
  });
});
