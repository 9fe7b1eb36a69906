import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { setMutation } from '../../src/base/test-build-active.ts';
import { TidemarkError } from '../../src/base/index.ts';
import { openMysql, type SqlConnection, type SqlEngine } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { codeOf, engineContract } from './engine-contract.ts';

describe.skipIf(mariadbMissing())('MariaDB', () => {
  let database: FreshDatabase;
  let engine: SqlEngine;
  beforeAll(async () => {
    database = await freshDatabase('sql');
    engine = openMysql({ kind: 'mysql', url: database.url });
  });
  afterAll(async () => {
    await engine.close();
    await database.drop();
  });
  const run = (sql: string) => engine.use('test', (connection) => connection.query(sql));
  const connect = (): Promise<SqlConnection> => engine.connect({ purpose: 'test' });

  engineContract(async () => {
    const own = await freshDatabase('contract');
    const pooled = openMysql({ kind: 'mysql', url: own.url }, { poolMax: 4 });
    return {
      engine: pooled,
      close: async () => {
        await pooled.close();
        await own.drop();
      },
    };
  });

  /** Ids in the process list whose statement holds the text. */
  const processes = async (text: string): Promise<readonly bigint[]> => {
    const { rows } = await run(
      `SELECT id FROM information_schema.processlist WHERE info LIKE '%${text}%'
        AND info NOT LIKE '%processlist%'`,
    );
    return rows.map(([id]) => id as bigint);
  };

  it('has the server end a SELECT that takes too long, and only where it reads', async () => {
    const hurried = openMysql({ kind: 'mysql', url: database.url }, { statementMs: 1_000 });
    const slow = hurried.read('test', (connection) =>
      connection.query(`SELECT ${'SLEEP(0.2) + '.repeat(9)} 0`),
    );
    await expect(slow).rejects.toMatchObject({ code: 'SQL_TOO_SLOW' });
    const limit = await hurried.use('test', (connection) => connection.query('SELECT @@max_statement_time'));
    expect(limit.rows).toEqual([[0]]);
    await hurried.close();
  });

  rule('sql.timesAreOfToday', 'gives a time of day no date, least of all the present one', async () => {
    const own = openMysql({ kind: 'mysql', url: database.url });
    const sql = "SELECT DATEDIFF(CAST('10:00:00' AS TIME), '2020-01-01'), YEAR(CAST('10:00:00' AS TIME))";
    try {
      const { rows } = await own.read('test', (connection) => connection.query(sql));
      expect(rows).toEqual([[null, 0n]]);
    } finally {
      await own.close();
    }
  });

  rule('sql.readersHangUpSoon', 'leaves a reading connection the time to wait for a stage', async () => {
    const own = openMysql({ kind: 'mysql', url: database.url });
    const sql = 'SELECT @@wait_timeout, @@net_write_timeout';
    try {
      const reading = await own.read('test', (connection) => connection.query(sql));
      expect(reading.rows).toEqual([[3_600n, 3_600n]]);
      const writing = await own.use('test', (connection) => connection.query(sql));
      expect(writing.rows).toEqual([[15n, 60n]]);
    } finally {
      await own.close();
    }
  });

  it('keeps decimals, dates and times as text, exactly', async () => {
    const { columns, rows } = await run(
      `SELECT CAST('12345678901234567890.123456789' AS DECIMAL(38,9)), CAST('2026-02-28' AS DATE),
        CAST('2026-02-28 23:59:59.123456' AS DATETIME(6)), TIMESTAMP('2026-02-28'), SUM(9223372036854775807)`,
    );
    expect(columns.map((column) => column.type)).toEqual([
      'decimal',
      'temporal',
      'temporal',
      'temporal',
      'decimal',
    ]);
    expect(rows).toEqual([
      [
        '12345678901234567890.123456789',
        '2026-02-28',
        '2026-02-28 23:59:59.123456',
        '2026-02-28 00:00:00',
        '9223372036854775807',
      ],
    ]);
  });

  it('pins the session', async () => {
    const { rows } = await run(
      `SELECT @@time_zone, @@tx_isolation, @@innodb_lock_wait_timeout, @@wait_timeout,
        @@collation_connection, @@sql_mode`,
    );
    expect(rows[0]?.slice(0, 5)).toEqual(['+00:00', 'READ-COMMITTED', 5n, 15n, 'utf8mb4_bin']);
    const shown = await run('SELECT @@group_concat_max_len, @@max_error_count');
    expect(shown.rows).toEqual([[1_048_576n, 1_024n]]);
    expect(rows[0]?.[5]).toMatch(/ONLY_FULL_GROUP_BY.*STRICT_TRANS_TABLES.*ERROR_FOR_DIVISION_BY_ZERO/);
  });

  it.each([
    ['INSERT INTO narrow (n) VALUES (128)', 'VALUE_RANGE'],
    ["INSERT INTO narrow (t) VALUES ('long')", 'VALUE_RANGE'],
    ["INSERT INTO narrow (n) VALUES ('x')", 'VALUE_RANGE'],
    ['INSERT INTO narrow (n) VALUES (1 / 0)', 'DIVISION_BY_ZERO'],
    ['SELECT 9223372036854775807 + 1', 'VALUE_RANGE'],
    ['SELECT t, SUM(n) FROM narrow', 'SQL_INVALID'],
    ['INSERT INTO narrow (n, n) VALUES (1, 1)', 'SQL_INVALID'],
    ['KILL 4294967295', 'DB_FAILED'],
  ])('%s is %s', async (sql, code) => {
    await run('CREATE TABLE IF NOT EXISTS narrow (n TINYINT, t VARCHAR(3))');
    expect(await codeOf(run(sql))).toBe(code);
  });

  it('maps a deadlock to DB_BUSY', async () => {
    await run('CREATE OR REPLACE TABLE locks (id INT PRIMARY KEY, n INT)');
    await run('INSERT INTO locks VALUES (1, 0), (2, 0), (3, 0)');
    const [left, right] = await Promise.all([connect(), connect()]);
    const bump = (connection: SqlConnection, id: number) =>
      connection.query('UPDATE locks SET n = n + 1 WHERE id = ?', [id]);
    await left.begin('write');
    await right.begin('write');
    await bump(left, 1);
    await bump(right, 2);
    const codes = await Promise.all([codeOf(bump(left, 2)), codeOf(bump(right, 1))]);
    expect(codes.sort()).toEqual(['DB_BUSY', 'no error']);
    await left.rollback();
    await right.rollback();

    await Promise.all([left.close(), right.close()]);
  });

  it.each([false, true])(
    'rolls back all of a transaction that waited too long (rule off: %s)',
    async (off) => {
      await run('CREATE OR REPLACE TABLE waits (id INT PRIMARY KEY, n INT)');
      await run('INSERT INTO waits VALUES (1, 0), (3, 0)');
      const [left, right] = await Promise.all([connect(), connect()]);
      const bump = (connection: SqlConnection, id: number) =>
        connection.query('UPDATE waits SET n = n + 1 WHERE id = ?', [id]);
      await left.begin('write');
      await bump(left, 1);
      await right.query('SET SESSION innodb_lock_wait_timeout = 1');
      await right.begin('write');
      await bump(right, 3);
      setMutation('sql.lockWaitKeepsTransaction', off);
      expect(await codeOf(bump(right, 1))).toBe('DB_BUSY');
      setMutation('sql.lockWaitKeepsTransaction', false);
      await left.commit();
      // InnoDB itself rolls back only the statement that waited; row 3 would stay changed and locked.
      if (off) await right.commit();
      else await right.begin('write');
      expect((await run('SELECT n FROM waits ORDER BY id')).rows).toEqual([[1n], [off ? 1n : 0n]]);
      await Promise.all([left.close(), right.close()]);
    },
  );

  const holderOf = async (marker: string): Promise<unknown> =>
    (await engine.read('test', (connection) => connection.query('SELECT IS_USED_LOCK(?)', [marker])))
      .rows[0]?.[0];

  rule('sql.markerStays', 'takes the marker from a connection when its transaction ends', async () => {
    for (const end of ['commit', 'rollback', 'busy'] as const) {
      const marker = `marker ${end}`;
      const own = openMysql({ kind: 'mysql', url: database.url });
      await own.use('test', async (connection) => {
        await connection.begin('write', marker);
        await connection.query('SELECT 1');
        expect(String(await holderOf(marker))).toBe(connection.id);
        if (end !== 'busy') await connection[end]();
        else
          expect(await codeOf(connection.query("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213"))).toBe(
            'DB_BUSY',
          );
        expect(await holderOf(marker)).toBeNull();
      });
      await own.close();
    }
  });

  rule('sql.severalStatementsPass', 'runs one statement of a text, where several may be sent', async () => {
    await run('CREATE OR REPLACE TABLE victims (n INT)');
    const twice = engine.use('test', async (connection) => {
      await connection.begin('write');
      await connection.query("SELECT ';'; INSERT INTO victims VALUES (1)");
      await connection.commit();
    });
    expect(await codeOf(twice)).toBe('SQL_INVALID');
    expect((await run('SELECT COUNT(*) FROM victims')).rows).toEqual([[0n]]);
  });

  it('never runs several statements of a text where SQL of others is run', async () => {
    // The server reads what follows on the line as a comment, our tokenizer a string that hides a statement.
    const sql = "SELECT 1 --\u0001'\n; CREATE TABLE hidden (n INT) -- '";
    const read = engine.read('test', (connection) => connection.query(sql));
    expect(await codeOf(read)).toBe('SQL_INVALID');
    const connection = await connect();
    expect(await codeOf(connection.query(sql))).toBe('SQL_INVALID');
    await connection.close();
    expect((await run("SHOW TABLES LIKE 'hidden'")).rows).toEqual([]);
  });

  describe('a killed connection', () => {
    it('inside a transaction is DB_UNREACHABLE, and closed', async () => {
      const victim = await connect();
      await victim.begin('write');
      const sleeping = codeOf(victim.query('SELECT SLEEP(30) /* in-transaction */'));
      await eventually(async () => (await processes('in-transaction')).length === 1, { withinMs: 5_000 });
      await engine.kill(victim.id);
      expect(await processes('in-transaction')).toEqual([]);
      expect(await sleeping).toBe('DB_UNREACHABLE');
      expect(await codeOf(victim.query('SELECT 1'))).toBe('DB_UNREACHABLE');
    });

    it('in a write outside a transaction has an unknown outcome', async () => {
      await run('CREATE TABLE IF NOT EXISTS slow (n INT)');
      const victim = await connect();
      const writing = codeOf(victim.query('INSERT INTO slow SELECT SLEEP(30) /* autocommit */'));
      await eventually(async () => (await processes('autocommit')).length === 1, { withinMs: 5_000 });
      await engine.kill(victim.id);
      expect(await writing).toBe('DB_OUTCOME_UNKNOWN');
    });

    it('between statements is found by the next one, also by COMMIT', async () => {
      const [idle, committing] = await Promise.all([connect(), connect()]);
      await engine.kill(idle.id);
      expect(await codeOf(idle.query('SELECT 1'))).toBe('DB_UNREACHABLE');
      await committing.begin('write');
      await engine.kill(committing.id);
      expect(await codeOf(committing.commit())).toMatch(/DB_OUTCOME_UNKNOWN|DB_UNREACHABLE/);
    });

    it('may be gone already', async () => {
      const victim = await connect();
      await victim.close();
      expect(await codeOf(engine.kill(victim.id))).toBe('no error');
      expect(await codeOf(engine.kill('1; DROP TABLE x'))).toBe('DB_FAILED');
    });
  });

  it('cancels a use: when it rejects, the process list no longer shows the statement', async () => {
    const cancel = new AbortController();
    const work = engine.use(
      'test',
      (connection) => connection.query('SELECT SLEEP(30) /* to-cancel */'),
      cancel.signal,
    );
    const code = codeOf(work);
    await eventually(async () => (await processes('to-cancel')).length === 1, { withinMs: 5_000 });
    cancel.abort();
    expect(await code).toBe('CANCELLED');
    expect(await processes('to-cancel')).toEqual([]);
  });

  it('ends the statement of a connection whose signal aborts', async () => {
    const cancel = new AbortController();
    const connection = await engine.connect({ purpose: 'test', signal: cancel.signal });
    const sleeping = codeOf(connection.query('SELECT SLEEP(30) /* by-signal */'));
    await eventually(async () => (await processes('by-signal')).length === 1, { withinMs: 5_000 });
    cancel.abort();
    expect(await sleeping).toBe('DB_UNREACHABLE');
    await eventually(async () => (await processes('by-signal')).length === 0, { withinMs: 5_000 });
  });

  it.each([
    [new TidemarkError('DB_UNREACHABLE', 'gone'), false],
    [new TypeError('a mistake of our own'), true],
  ])('passes over the failure of such a kill by the server only: %s', async (failure, told) => {
    const unhandled = process.listeners('unhandledRejection');
    const seen: unknown[] = [];
    process.removeAllListeners('unhandledRejection').on('unhandledRejection', (error) => seen.push(error));
    const kill = vi.spyOn(engine, 'kill').mockRejectedValueOnce(failure);
    const cancel = new AbortController();
    const connection = await engine.connect({ purpose: 'test', signal: cancel.signal });
    const sleeping = codeOf(connection.query('SELECT SLEEP(30) /* kill-fails */'));
    await eventually(async () => (await processes('kill-fails')).length === 1, { withinMs: 5_000 });
    cancel.abort();
    expect(await sleeping).toBe('DB_UNREACHABLE');
    await eventually(() => kill.mock.settledResults[0]?.type === 'rejected', { withinMs: 5_000 });
    await new Promise(setImmediate);
    kill.mockRestore();
    process.removeAllListeners('unhandledRejection');
    for (const listener of unhandled) process.on('unhandledRejection', listener);
    await engine.kill(connection.id);
    expect(seen).toEqual(told ? [failure] : []);
  });

  it('does not use a pooled connection that the server dropped', async () => {
    const single = openMysql({ kind: 'mysql', url: database.url }, { poolMax: 1 });
    const first = await single.use('test', (connection) => Promise.resolve(connection.id));
    await engine.kill(first);
    const second = await eventually(
      () => single.use('test', (connection) => Promise.resolve(connection.id)),
      {
        withinMs: 5_000,
      },
    );
    const answer = await eventually(() => single.use('test', (connection) => connection.query('SELECT 1')), {
      withinMs: 5_000,
    });
    expect([answer.rows, second === first && second === '']).toEqual([[[1n]], false]);
    await single.close();
  });

  describe('a server that cannot be used', () => {
    const openAt = (change: (url: URL) => void): SqlEngine => {
      const url = new URL(database.url);
      change(url);
      return openMysql({ kind: 'mysql', url: url.href });
    };
    const tryIt = async (bad: SqlEngine) => {
      const code = await codeOf(bad.use('test', () => Promise.resolve()));
      await bad.close();
      return code;
    };

    it('refuses a wrong password and an unknown user with DB_ACCESS', async () => {
      expect(await tryIt(openAt((url) => (url.password = 'wrong')))).toBe('DB_ACCESS');
      expect(await tryIt(openAt((url) => (url.username = 'nobody')))).toBe('DB_ACCESS');
    });

    it('tells a missing privilege, and a limit of the account from a refusal', async () => {
      await run("CREATE OR REPLACE USER few@'%' IDENTIFIED BY 'pw' WITH MAX_USER_CONNECTIONS 1");
      await run(`GRANT SELECT ON ${database.name}.* TO few@'%'`);
      const few = openAt((url) => {
        url.username = 'few';
        url.password = 'pw';
      });
      const first = await few.connect({ purpose: 'test' });
      expect(await codeOf(few.connect({ purpose: 'test' }))).toBe('DB_BUSY');
      expect(await codeOf(first.query('CREATE TABLE forbidden (n INT)'))).toBe('DB_ACCESS');
      expect((await first.query('SELECT 1')).rows).toEqual([[1n]]);
      await first.close();
      await run("DROP USER few@'%'");
    });

    it('names an unknown database', async () => {
      expect(await tryIt(openAt((url) => (url.pathname = '/no_such_database')))).toBe('DB_FAILED');
    });

    it('is DB_UNREACHABLE when nobody listens or the name is unknown', async () => {
      expect(await tryIt(openAt((url) => (url.port = '1')))).toBe('DB_UNREACHABLE');
      expect(await tryIt(openAt((url) => (url.hostname = 'no-such-host.invalid')))).toBe('DB_UNREACHABLE');
    });

    it('is DB_UNREACHABLE when it hangs up at once', async () => {
      const server = await listening((socket) => socket.destroy());
      expect(await tryIt(openAt((url) => (url.port = String((server.address() as AddressInfo).port))))).toBe(
        'DB_UNREACHABLE',
      );
      server.close();
    });

    it('gives up on one that accepts and never speaks when cancelled', async () => {
      const sockets: { destroy(): void }[] = [];
      const server = await listening((socket) => sockets.push(socket));
      const mute = openAt((url) => (url.port = String((server.address() as AddressInfo).port)));
      const cancel = new AbortController();
      const connecting = codeOf(mute.connect({ purpose: 'test', signal: cancel.signal }));
      await eventually(() => sockets.length === 1, { withinMs: 5_000 });
      cancel.abort();
      expect(await connecting).toBe('CANCELLED');
      for (const socket of sockets) socket.destroy();
      server.close();
    });

    it.each(['localhost', 'http://x/y', 'mysql://u:p@h/d?multipleStatements=true', 'mysql://u:p%zz@h/d'])(
      'refuses the URL %s without repeating a password',
      (url) => {
        expect(() => openMysql({ kind: 'mysql', url })).toThrow(
          expect.objectContaining({ code: 'CONFIG_INVALID' }),
        );
        expect(() => openMysql({ kind: 'mysql', url })).not.toThrow(/p%zz|u:p/);
      },
    );
  });
});

function listening(onSocket: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer(onSocket);
    server.listen(0, '127.0.0.1', () => {
      resolve(server);
    });
  });
}
