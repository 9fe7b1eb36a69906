/** What every SQL engine must do, whatever stands behind it. Run by embedded.test.ts and mysql.test.ts. */
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isTidemarkError, type ErrorCode } from '../../src/base/index.ts';
import type { SqlConnection, SqlEngine } from '../../src/sql/index.ts';
import { setMutation } from '../../src/base/test-build-active.ts';
import { eventually } from '../support/eventually.ts';

export interface EngineFixture {
  readonly engine: SqlEngine;
  close(): Promise<void>;
}

const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);
/** A fencing token of term 3: 3 * 2^40 + 1 is below 2^53, so one far above it. */
const TOKEN = (8_000_000n << 40n) | 12_345n;

export async function codeOf(work: Promise<unknown>): Promise<ErrorCode | 'no error'> {
  try {
    await work;
    return 'no error';
  } catch (error) {
    if (isTidemarkError(error)) return error.code;
    throw error;
  }
}

export function engineContract(open: () => Promise<EngineFixture>): void {
  let fixture: EngineFixture;
  let engine: SqlEngine;
  const run = (sql: string, params: Parameters<SqlConnection['query']>[1] = []) =>
    engine.use('test', (connection) => connection.query(sql, params));

  beforeAll(async () => {
    fixture = await open();
    engine = fixture.engine;
  });
  afterAll(() => fixture.close());
  beforeEach(async () => {
    const { dialect } = engine;
    const big = dialect.columnType('BIGINT');
    await run('DROP TABLE IF EXISTS cells');
    await run(
      `CREATE TABLE cells (id ${big} NOT NULL PRIMARY KEY, n ${big}, t ${dialect.columnType('TEXT(40)')},
        b ${dialect.columnType('BYTES(40)')}, d ${dialect.columnType('DOUBLE')})`,
    );
  });

  describe('results in pieces', () => {
    const NUMBERS =
      'WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i, ? FROM n';
    const stream = (
      count: number,
      pieceRows: number,
      take: (sizes: number[], connection: SqlConnection) => Promise<boolean>,
    ): Promise<{ readonly sizes: number[]; readonly sum: bigint; readonly after: unknown }> =>
      engine.use('test', async (connection) => {
        const sizes: number[] = [];
        let sum = 0n;
        await connection.stream(NUMBERS, [count, 'x'], { pieceRows }, async ({ columns, rows }) => {
          expect(columns.map(({ name }) => name)[0]).toBe('i');
          sizes.push(rows.length);
          for (const [i, x] of rows) sum += x === 'x' ? (i as bigint) : 0n;
          return take(sizes, connection);
        });
        return { sizes, sum, after: await connection.query('SELECT 5').then(({ rows }) => rows[0]?.[0]) };
      });

    it.each([
      [10, [4, 4, 2]],
      [8, [4, 4, 0]],
    ])('hands %i rows over in order, and the connection goes on', async (count, sizes) => {
      const sum = BigInt((count * (count + 1)) / 2);
      expect(await stream(count, 4, () => Promise.resolve(true))).toEqual({ sizes, sum, after: 5n });
    });

    it('hands over a result without rows', async () => {
      const sizes: number[] = [];
      await engine.use('test', (connection) =>
        connection.stream('SELECT id FROM cells', [], { pieceRows: 3 }, ({ rows }) => {
          sizes.push(rows.length);
          return Promise.resolve(true);
        }),
      );
      expect(sizes).toEqual([0]);
    });

    it('reads no further while a piece is worked on', async () => {
      let working = 0;
      const take = async (): Promise<boolean> => {
        working += 1;
        expect(working).toBe(1);
        await new Promise((resolve) => setImmediate(resolve));
        working -= 1;
        return true;
      };
      expect((await stream(900, 7, take)).sum).toBe(405_450n);
    });

    it('ends when no more are wanted, and drops the connection', async () => {
      const sizes: number[] = [];
      const ended = stream(900, 100, (all) => {
        sizes.splice(0, sizes.length, ...all);
        return Promise.resolve(all.length < 2);
      });
      expect(await codeOf(ended)).toBe('DB_UNREACHABLE');
      expect(sizes).toEqual([100, 100]);
      expect((await run('SELECT 6')).rows).toEqual([[6n]]);
    });

    it('hands on what the one who takes throws', async () => {
      const ended = stream(900, 100, () => Promise.reject(new Error('mine')));
      await expect(ended).rejects.toThrow('mine');
      expect((await run('SELECT 6')).rows).toEqual([[6n]]);
    });

    it('takes a time of its own, and goes on to tell warnings', async () => {
      const rows = await engine.use('test', async (connection) => {
        const options = { pieceRows: 5, selectMs: 60_000 };
        await connection.stream('WITH one AS (SELECT 1 AS i) SELECT i / 0 FROM one', [], options, () =>
          Promise.resolve(true),
        );
        return (await connection.query(engine.kind === 'mysql' ? 'SHOW WARNINGS' : 'SELECT 1, 1365')).rows;
      });
      expect(rows.map(([, code]) => code)).toEqual([1365n]);
    });

    it('tells an error of the statement', async () => {
      const work = engine.use('test', (connection) =>
        connection.stream('SELECT nothing_of_this_name', [], { pieceRows: 5 }, () => Promise.resolve(true)),
      );
      expect(await codeOf(work)).toBe('SQL_INVALID');
    });
  });

  describe('values', () => {
    it.each([0n, 1n, -1n, 2n ** 53n + 1n, TOKEN, INT64_MAX, INT64_MIN])('keeps the integer %s', async (n) => {
      await run('INSERT INTO cells (id, n) VALUES (?, ?)', [1n, n]);
      expect((await run('SELECT n FROM cells WHERE n = ?', [n])).rows).toEqual([[n]]);
      await engine.use('test', (connection) => connection.insertRows('cells', ['id', 'n'], [[2n, n]]));
      expect((await run('SELECT n FROM cells WHERE id = 2')).rows).toEqual([[n]]);
    });

    it('gives every integer as bigint and every float as number', async () => {
      await run('INSERT INTO cells (id, n, d) VALUES (?, ?, ?)', [1, 5, 0.1]);
      expect((await run('SELECT n, d, n + 1, 7, d FROM cells')).rows).toEqual([[5n, 0.1, 6n, 7n, 0.1]]);
      await run('UPDATE cells SET d = ?', [1.7976931348623157e308]);
      expect((await run('SELECT d FROM cells')).rows).toEqual([[1.7976931348623157e308]]);
      await run('UPDATE cells SET d = ?', [3]);
      expect((await run('SELECT d FROM cells')).rows).toEqual([[3]]);
    });

    it('refuses what does not fit', async () => {
      expect(await codeOf(run('SELECT ?', [2n ** 64n]))).toBe('VALUE_RANGE');
      expect(await codeOf(run('SELECT ?', [Number.NaN]))).toBe('VALUE_RANGE');
      expect(await codeOf(run('SELECT ?', [Number.POSITIVE_INFINITY]))).toBe('VALUE_RANGE');
    });

    it.each([
      '',
      "it's",
      '"quoted" `back` \\ backslash \\\' \\n',
      'line\r\nbreak\ttab',
      'what? --x /* y */ # z',
      'émigré 漢字 😀',
      '%_\u001a',
    ])('keeps the text %j', async (text) => {
      await run('INSERT INTO cells (id, t) VALUES (?, ?)', [1n, text]);
      expect((await run('SELECT t FROM cells WHERE t = ?', [text])).rows).toEqual([[text]]);
      await engine.use('test', (connection) => connection.insertRows('cells', ['id', 't'], [[2n, text]]));
      expect((await run('SELECT t FROM cells WHERE id = 2')).rows).toEqual([[text]]);
    });

    it('compares text by code points', async () => {
      const texts = ['a', 'A', 'ä', 'é', 'e'].map((text, at) => [BigInt(at), text]);
      await engine.use('test', (connection) => connection.insertRows('cells', ['id', 't'], texts));
      expect((await run("SELECT COUNT(*) FROM cells WHERE t = 'a'")).rows).toEqual([[1n]]);
      expect((await run('SELECT COUNT(DISTINCT t) FROM cells')).rows).toEqual([[5n]]);
    });

    it('keeps bytes, zeros and invalid UTF-8 among them', async () => {
      const bytes = Uint8Array.from([0, 1, 0, 255, 39, 92, 0xc3, 0x28, 0]);
      await run('INSERT INTO cells (id, b) VALUES (?, ?)', [1n, bytes]);
      // A slice of a larger buffer: only its own part may travel.
      await engine.use('test', (connection) =>
        connection.insertRows(
          'cells',
          ['id', 'b'],
          [[2n, Buffer.concat([Buffer.from('xx'), bytes]).subarray(2)]],
        ),
      );
      const { rows } = await run('SELECT b FROM cells WHERE b = ? ORDER BY id', [bytes]);
      expect(rows.map(([b]) => Uint8Array.from(b as Uint8Array))).toEqual([bytes, bytes]);
    });

    it('keeps NULL, true and false', async () => {
      await run('INSERT INTO cells (id, n, t, b, d) VALUES (?, ?, ?, ?, ?)', [1n, null, null, null, null]);
      expect((await run('SELECT n, t, b, d FROM cells')).rows).toEqual([[null, null, null, null]]);
      expect((await run('SELECT ? , ?', [true, false])).rows).toEqual([[1n, 0n]]);
    });

    it('turns text into bytes and back', async () => {
      const { dialect } = engine;
      const bytes = dialect.toStored('t', 'TEXT(9)');
      const { rows } = await run(
        `SELECT ${bytes}, ${dialect.fromStored(bytes, 'TEXT(9)')} FROM (SELECT 'é😀' AS t) AS x`,
      );
      expect([Buffer.from(rows[0]?.[0] as Uint8Array).toString(), rows[0]?.[1]]).toEqual(['é😀', 'é😀']);
    });

    it('keeps whatever is thrown at it', async () => {
      const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((value) => !value.includes('\0'));
      const row = fc.record({
        n: fc.bigInt({ min: INT64_MIN, max: INT64_MAX }),
        t: fc.oneof(text, fc.stringMatching(/^[?'"`\\;#*/ -]{0,20}$/)),
        b: fc.uint8Array({ maxLength: 40 }),
        d: fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)),
      });
      const rows = fc.sample(row, { numRuns: 500, seed: 20261121 });
      await engine.use('test', (connection) =>
        connection.insertRows(
          'cells',
          ['id', 'n', 't', 'b', 'd'],
          rows.map(({ n, t, b, d }, at) => [at, n, t, b, d]),
        ),
      );
      const { rows: found } = await run('SELECT n, t, b, d FROM cells ORDER BY id');
      expect(found.map(([n, t, b, d]) => ({ n, t, b: Uint8Array.from(b as Uint8Array), d }))).toEqual(rows);
    });

    it('leaves question marks in strings, names and comments alone', async () => {
      const sql = `SELECT 'a?''?' AS ${engine.dialect.id('q?')}, ? /* ? */ -- ?\n`;
      expect(await run(sql, [4n])).toMatchObject({ rows: [["a?'?", 4n]] });
    });

    it('refuses a wrong number of parameters', async () => {
      await expect(run('SELECT ?, ?', [1n])).rejects.toThrow(/2 placeholders, 1 /);
    });
  });

  describe('results', () => {
    it('names columns, also twice the same, and says what kind they are', async () => {
      const { columns } = await run('SELECT id, n, t, b, d, id FROM cells');
      expect(columns.map((column) => `${column.name} ${column.type}`)).toEqual([
        'id integer',
        'n integer',
        't text',
        'b binary',
        'd float',
        'id integer',
      ]);
    });

    it('counts matched rows', async () => {
      expect((await run('INSERT INTO cells (id) VALUES (1), (2)')).changes).toBe(2);
      expect((await run('UPDATE cells SET n = NULL')).changes).toBe(2);
      expect((await run('DELETE FROM cells WHERE id = 1')).changes).toBe(1);
      expect((await run('SELECT * FROM cells')).changes).toBe(0);
    });

    it('inserts 10,000 rows in statements of bounded size', async () => {
      const rows = Array.from({ length: 10_000 }, (_, at) => [BigInt(at), TOKEN + BigInt(at), `row ${at}`]);
      await engine.use('test', async (connection) => {
        await connection.begin('write');
        await connection.insertRows('cells', ['id', 'n', 't'], rows);
        await connection.commit();
      });
      const { rows: found } = await run('SELECT id, n, t FROM cells ORDER BY id');
      expect(found).toEqual(rows);
    });
  });

  describe('errors', () => {
    it.each([
      ['SELEC 1', 'SQL_INVALID'],
      ['SELECT nothing FROM cells', 'SQL_INVALID'],
      ['SELECT no_such_function(1)', 'SQL_INVALID'],
      ['SELECT (1', 'SQL_INVALID'],
      ["SELECT 'open", 'SQL_INVALID'],
      ['SELECT 1; SELECT 2', 'SQL_INVALID'],
      ['SELECT 1 UNION ALL SELECT 1, 2', 'SQL_INVALID'],
      ['SELECT * FROM no_such_table', 'TABLE_MISSING'],
      ['DROP TABLE no_such_table', 'TABLE_MISSING'],
      ['CREATE TABLE cells (id BIGINT)', 'DB_FAILED'],
    ])('%s is %s', async (sql, code) => {
      expect(await codeOf(run(sql))).toBe(code);
    });

    it('tells a duplicate key from other failures, and the connection stays usable', async () => {
      const connection = await engine.connect({ purpose: 'test' });
      await connection.query('INSERT INTO cells (id) VALUES (1)');
      await expect(connection.query('INSERT INTO cells (id) VALUES (1)')).rejects.toMatchObject({
        code: 'DB_FAILED',
        details: { reason: 'duplicate' },
      });
      expect((await connection.query('SELECT COUNT(*) FROM cells')).rows).toEqual([[1n]]);
      await connection.close();
      expect(await codeOf(connection.query('SELECT 1'))).toBe('DB_UNREACHABLE');
    });

    it('refuses to write on a read-only connection', async () => {
      const connection = await engine.connect({ purpose: 'test', readOnly: true });
      expect(await codeOf(connection.query('INSERT INTO cells (id) VALUES (1)'))).not.toBe('no error');
      expect((await connection.query('SELECT COUNT(*) FROM cells')).rows).toEqual([[0n]]);
      await connection.close();
    });
  });

  describe('transactions', () => {
    it('commits and rolls back', async () => {
      const connection = await engine.connect({ purpose: 'test' });
      await connection.begin('write');
      await connection.query('INSERT INTO cells (id) VALUES (1)');
      expect((await run('SELECT COUNT(*) FROM cells')).rows).toEqual([[0n]]);
      await connection.commit();
      await connection.begin('write');
      await connection.query('INSERT INTO cells (id) VALUES (2)');
      await connection.rollback();
      expect((await run('SELECT id FROM cells')).rows).toEqual([[1n]]);
      await connection.close();
    });

    it('runs a batch in its order, and what may come later no later than the commit', async () => {
      await engine.use('test', async (connection) => {
        await connection.begin('write');
        await connection.later('INSERT INTO cells (id, n) VALUES (?, ?)', [1n, 5n]);
        const results = await connection.batch([
          { sql: 'UPDATE cells SET n = n + 1 WHERE id = ?', params: [1n] },
          { sql: 'SELECT n FROM cells' },
        ]);
        expect(results.map(({ rows }) => rows)).toEqual([[], [[6n]]]);
        await connection.later('INSERT INTO cells (id, n) VALUES (2, 2)');
        await connection.commit();
      });
      expect((await run('SELECT n FROM cells ORDER BY id')).rows).toEqual([[6n], [2n]]);
    });

    it('ends a batch at the first statement that fails, and nothing of it stays', async () => {
      await engine.use('test', async (connection) => {
        await connection.begin('write');
        const failing = connection.batch([
          { sql: 'INSERT INTO cells (id) VALUES (1)' },
          { sql: 'SELECT nothing FROM cells' },
          { sql: 'INSERT INTO cells (id) VALUES (2)' },
        ]);
        expect(await codeOf(failing)).toBe('SQL_INVALID');
        expect((await connection.query('SELECT id FROM cells')).rows).toEqual([[1n]]);
        await connection.rollback();
      });
      expect((await run('SELECT COUNT(*) FROM cells')).rows).toEqual([[0n]]);
    });

    it('shows a snapshot as of its begin, and the newest state after it', async () => {
      const reader = await engine.connect({ purpose: 'test' });
      await run('INSERT INTO cells (id, n) VALUES (1, 1)');
      await reader.begin('snapshot');
      await run('INSERT INTO cells (id, n) VALUES (2, 2)');
      await run('UPDATE cells SET n = 9 WHERE id = 1');
      expect((await reader.query('SELECT id, n FROM cells')).rows).toEqual([[1n, 1n]]);
      await reader.commit();
      expect((await reader.query('SELECT n FROM cells ORDER BY id')).rows).toEqual([[9n], [2n]]);
      await reader.close();
    });

    it('drops a pooled connection that was left inside a transaction', async () => {
      await engine.use('test', async (connection) => {
        await connection.begin('write');
        await connection.query('INSERT INTO cells (id) VALUES (1)');
      });
      await eventually(async () => (await codeOf(run('INSERT INTO cells (id) VALUES (1)'))) === 'no error', {
        withinMs: 10_000,
      });
      expect((await run('SELECT COUNT(*) FROM cells')).rows).toEqual([[1n]]);
    });

    it('rolls back what a destroyed connection had not committed, and frees its locks', async () => {
      await run('INSERT INTO cells (id, n) VALUES (1, 1)');
      const connection = await engine.connect({ purpose: 'test' });
      await connection.begin('write');
      await connection.query('UPDATE cells SET n = 2');
      connection.destroy();
      expect(await codeOf(connection.query('SELECT 1'))).toBe('DB_UNREACHABLE');
      await engine.kill(connection.id);
      await run('UPDATE cells SET n = n + 10');
      expect((await run('SELECT n FROM cells')).rows).toEqual([[11n]]);
    });

    it('says that the outcome is unknown when a commit is cut off, and only then', async () => {
      const connection = await engine.connect({ purpose: 'test' });
      await connection.begin('write');
      await connection.query('INSERT INTO cells (id) VALUES (1)');
      const committing = codeOf(connection.commit());
      connection.destroy();
      expect(await committing).toBe('DB_OUTCOME_UNKNOWN');

      const other = await engine.connect({ purpose: 'test' });
      await other.begin('write');
      const inserting = codeOf(other.query('INSERT INTO cells (id) VALUES (2)'));
      other.destroy();
      expect(await inserting).toBe('DB_UNREACHABLE');

      const third = await engine.connect({ purpose: 'test' });
      const [writing, reading] = [
        codeOf(third.query('INSERT INTO cells (id) VALUES (3)')),
        codeOf(third.query('SELECT 1')),
      ];
      third.destroy();
      expect([await writing, await reading]).toEqual(['DB_OUTCOME_UNKNOWN', 'DB_UNREACHABLE']);

      setMutation('sql.lostCommitIsFailure', true);
      const last = await engine.connect({ purpose: 'test' });
      await last.begin('write');
      const broken = codeOf(last.commit());
      last.destroy();
      expect(await broken).toBe('DB_UNREACHABLE');
      setMutation('sql.lostCommitIsFailure', false);
    });
  });

  describe('upserts', () => {
    const upsert = (source: string) =>
      engine.dialect.upsert({
        table: 'cells',
        columns: ['id', 'n', 't'],
        source,
        key: ['id'],
        add: ['n'],
        replace: ['t'],
      });

    it('adds to one column and replaces another', async () => {
      await run(upsert("VALUES (?, ?, 'first'), (2, 20, 'second')"), [1n, TOKEN]);
      await run(upsert("VALUES (1, -1, 'third')"));
      expect((await run('SELECT id, n, t FROM cells ORDER BY id')).rows).toEqual([
        [1n, TOKEN - 1n, 'third'],
        [2n, 20n, 'second'],
      ]);
    });

    it('takes its rows from a SELECT over the same table', async () => {
      await run(upsert("VALUES (1, 10, 'x'), (2, 20, 'y')"));
      await run(upsert("SELECT id, 1, 'z' FROM (SELECT id FROM cells WHERE id < ?) AS few ORDER BY id"), [
        2n,
      ]);
      expect((await run('SELECT n, t FROM cells ORDER BY id')).rows).toEqual([
        [11n, 'z'],
        [20n, 'y'],
      ]);
    });

    it('refuses a sum that leaves 64 bits, and changes nothing', async () => {
      await run(upsert("VALUES (1, ?, 'full')"), [INT64_MAX - 1n]);
      await run(upsert("VALUES (1, 1, 'fits')"));
      expect(await codeOf(run(upsert("VALUES (1, 1, 'over')")))).toBe('VALUE_RANGE');
      expect((await run('SELECT n, t FROM cells')).rows).toEqual([[INT64_MAX, 'fits']]);
    });

    it('leaves an existing row alone with insertIgnore', async () => {
      const ignore = (source: string) =>
        engine.dialect.insertIgnore({ table: 'cells', columns: ['id', 'n'], source, key: ['id'] });
      await run(ignore('VALUES (1, 10)'));
      await run(ignore('VALUES (1, 99), (2, 20)'));
      expect((await run('SELECT n FROM cells ORDER BY id')).rows).toEqual([[10n], [20n]]);
    });
  });

  describe('the pool', () => {
    it('has as many at work as its bound allows, and never more', async () => {
      let atWork = 0;
      let most = 0;
      const work = Array.from({ length: 12 }, () =>
        engine.use('test', async (connection) => {
          atWork += 1;
          most = Math.max(most, atWork);
          await eventually(() => most >= 4, { withinMs: 10_000 });
          await connection.query('SELECT 1');
          atWork -= 1;
        }),
      );
      await Promise.all(work);
      expect(most).toBe(4);
    });

    it('gives up waiting for a place when cancelled', async () => {
      let release = (): void => undefined;
      const released = new Promise<void>((resolve) => (release = resolve));
      const holding = Array.from({ length: 4 }, () => engine.use('test', () => released));
      const cancelled = new AbortController();
      const waiting = codeOf(engine.use('test', () => Promise.resolve(), cancelled.signal));
      cancelled.abort();
      expect(await waiting).toBe('CANCELLED');
      release();
      await Promise.all(holding);
      expect(await codeOf(run('SELECT 1'))).toBe('no error');
    });
  });
}
