/** What ends the reading of a binlog, on a server of our own whose log and settings the test may spoil. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock, type Clock } from '../../src/base/index.ts';
import type { ChangeReader, ChangeSource, SourceEvent } from '../../src/collector/change-source.ts';
import { inspectSource } from '../../src/collector/index.ts';
import { openChangeSource } from '../../src/collector/open-change-source.ts';
import type { SchemaChange } from '../../src/collector/schema/schema-change.ts';
import { startPrivateServer, type PrivateServer } from '../../src/dev/private-mysql.ts';
import { openEngine, type SqlEngine, type SqlValue } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';

describe.skipIf(mariadbMissing())('binlog faults, MariaDB', () => {
  let folder: string;
  let server: PrivateServer;
  let engine: SqlEngine;
  let changes: ChangeSource;
  let reader: ChangeReader;
  let position: string;
  let databases = 0;

  const run = async (...statements: readonly string[]): Promise<readonly (readonly SqlValue[])[]> =>
    engine.use('test', async (connection) => {
      let rows: readonly (readonly SqlValue[])[] = [];
      for (const statement of statements) ({ rows } = await connection.query(statement));
      return rows;
    });

  const open = async (clock: Clock = systemClock): Promise<ChangeSource> => {
    const tables = await inspectSource(engine, { tables: [{ table: 'item' }] });
    const database = { embedded: { file: 'not read here' } };
    const window = { lengthMs: 1, rowsMax: 1, bytesMax: 1 };
    const url = `${server.url}/faults${databases}`;
    return openChangeSource({
      source: { format: 1, name: 's', engine: 'mysql', database, tables, window },
      engines: { source: engine, sourceAddress: { kind: 'mysql', url } },
      clock,
    });
  };

  /** Reads until the reader fails, or `done` says that enough has come. */
  const read = async (done: (events: readonly SourceEvent[]) => boolean): Promise<readonly SourceEvent[]> => {
    const events: SourceEvent[] = [];
    await eventually(
      async () => {
        events.push(...(await reader.next(50)));
        return done(events);
      },
      { withinMs: 15_000, everyMs: 0 },
    );
    return events;
  };

  const failure = async (): Promise<unknown> => {
    let caught: unknown;
    await eventually(
      async () => {
        try {
          await reader.next(50);
          return false;
        } catch (error) {
          caught = error;
          return true;
        }
      },
      { withinMs: 15_000, everyMs: 0, what: 'the reader fails' },
    );
    return caught;
  };

  const ids = (events: readonly SourceEvent[]): unknown[] =>
    events.flatMap((event) => (event.type === 'change' ? [event.row[0]] : []));

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-faults-'));
    server = await startPrivateServer({ folder, name: 'faults', durable: false });
  });

  afterAll(async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });

  beforeEach(async () => {
    databases += 1;
    const root = openEngine({ kind: 'mysql', url: server.url });
    await root.use('test', (connection) => connection.query(`CREATE DATABASE faults${databases}`));
    await root.close();
    engine = openEngine({ kind: 'mysql', url: `${server.url}/faults${databases}` });
    await run(
      `CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20))
        PARTITION BY HASH (id) PARTITIONS 2`,
      `CREATE TABLE other (id BIGINT NOT NULL PRIMARY KEY)`,
    );
    changes = await open();
    ({ position } = await changes.snapshot(() => Promise.resolve(true)));
    reader = await changes.read(position);
  });

  afterEach(async () => {
    await changes.close();
    await engine.close();
  });

  /** As if the statement were the last of the log. */
  const redefined = async (statement: string): Promise<readonly SchemaChange[]> =>
    changes.redefined(statement, (await changes.head()).position);

  it.each([
    ['a new column', `ALTER TABLE item ADD COLUMN more INT`],
    ['another type', `ALTER TABLE item MODIFY name VARCHAR(40)`],
    ['another order', `ALTER TABLE item MODIFY name VARCHAR(20) FIRST`],
    ['a column made anew', `ALTER TABLE item DROP name, ADD name VARCHAR(20)`],
  ])('tells of %s, and of nothing behind it', async (_, statement) => {
    await run(statement, `INSERT INTO item (id) VALUES (1)`);
    const events = await read((seen) => seen.some(({ type }) => type === 'definition'));
    expect(ids(events)).toEqual([]);
    expect(events.at(-1)).toMatchObject({ type: 'definition', statement });
    expect(await reader.next(50)).toEqual([]);
    expect(await redefined(statement)).toMatchObject([{ after: { schemaVersion: 2 } }]);
  });

  it.each([
    ['another name', `RENAME TABLE item TO thing`],
    ['no table', `DROP TABLE other, item`],
  ])('ends with SCHEMA_CHANGED: %s', async (_, statement) => {
    await run(statement);
    expect(await failure()).toMatchObject({ code: 'SCHEMA_CHANGED' });
    // A collector that starts again meets the same.
    reader = await changes.read(position);
    expect(await failure()).toMatchObject({ code: 'SCHEMA_CHANGED' });
  });

  it('ends with SCHEMA_CHANGED when rows do not fit what is captured', async () => {
    await run(`SET SESSION sql_log_bin = 0`, `ALTER TABLE item ADD more INT`, `SET SESSION sql_log_bin = 1`);
    await run(`INSERT INTO item VALUES (1, 'a', 2)`);
    expect(await failure()).toMatchObject({ code: 'SCHEMA_CHANGED' });
  });

  rule(
    'collector.trustsUnnamedColumns',
    'a schema version is not read from a log without names',
    async () => {
      await run(`ALTER TABLE item ADD more INT`);
      await read((seen) => seen.some(({ type }) => type === 'definition'));
      changes.adopt(await redefined(`ALTER TABLE item ADD more INT`));
      await run(`SET GLOBAL binlog_row_metadata = NO_LOG`, `INSERT INTO item (id) VALUES (9)`);
      try {
        await expect(redefined(`ALTER TABLE item DROP more`)).rejects.toMatchObject({
          code: 'SCHEMA_CHANGED',
        });
        const { position: end } = await changes.head();
        await run(`INSERT INTO item (id) VALUES (10)`);
        const unnamed = await changes.read(end);
        reader = unnamed;
        const rowsCome = async (): Promise<void> => {
          while (!(await unnamed.next(50)).some(({ type }) => type === 'change'));
        };
        await expect(rowsCome()).rejects.toMatchObject({ code: 'SCHEMA_CHANGED' });
      } finally {
        await run(`SET GLOBAL binlog_row_metadata = FULL`, `DELETE FROM item`);
      }
    },
  );

  const ITEM = `item (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20)) PARTITION BY HASH (id) PARTITIONS 2`;

  it.each([
    ['the table of a dump', [`DROP TABLE IF EXISTS item`, `CREATE TABLE ${ITEM}`]],
    ['a table replaced', [`CREATE OR REPLACE TABLE ${ITEM}`]],
    ['a table swapped', [`CREATE TABLE fresh LIKE item`, `RENAME TABLE item TO old, fresh TO item`]],
  ])('ends with SCHEMA_CHANGED although the columns are the same again: %s', async (_, statements) => {
    await run(`INSERT INTO item (id) VALUES (1)`);
    await run(...statements, `REPLACE INTO item (id) VALUES (1)`);
    expect(await failure()).toMatchObject({ code: 'SCHEMA_CHANGED' });
    // A collector that starts again meets the same: it reads from where the last window ended.
    reader = await changes.read(position);
    expect(await failure()).toMatchObject({ code: 'SCHEMA_CHANGED' });
  });

  it.each([
    ['ALTER IGNORE', `ALTER IGNORE TABLE item ADD INDEX by_name (name)`],
    ['TRUNCATE', `TRUNCATE TABLE item`],
    ['TRUNCATE of a partition', `ALTER TABLE item TRUNCATE PARTITION p0`],
  ])('ends with SOURCE_UNTELLABLE: %s', async (_, statement) => {
    await run(statement);
    expect(await failure()).toMatchObject({ code: 'SOURCE_UNTELLABLE' });
  });

  it('ends with SOURCE_UNTELLABLE: an XA transaction', async () => {
    await run(
      `XA START 'x'`,
      `INSERT INTO item (id) VALUES (1)`,
      `XA END 'x'`,
      `XA PREPARE 'x'`,
      `XA ROLLBACK 'x'`,
    );
    expect(await failure()).toMatchObject({ code: 'SOURCE_UNTELLABLE' });
  });

  it('ends with SOURCE_UNTELLABLE: a change logged as a statement', async () => {
    await run(
      `SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ`,
      `SET SESSION binlog_format = STATEMENT`,
      `INSERT INTO item (id) VALUES (1)`,
      `SET SESSION binlog_format = ROW`,
    );
    expect(await failure()).toMatchObject({ code: 'SOURCE_UNTELLABLE' });
  });

  it('ends with SOURCE_UNTELLABLE: an image without all columns', async () => {
    await run(
      `INSERT INTO item (id, name) VALUES (1, 'a')`,
      `SET SESSION binlog_row_image = MINIMAL`,
      `UPDATE item SET name = 'b' WHERE id = 1`,
      `SET SESSION binlog_row_image = FULL`,
    );
    expect(await failure()).toMatchObject({ code: 'SOURCE_UNTELLABLE' });
  });

  it('goes on over definitions that change nothing captured', async () => {
    await run(
      `CREATE TABLE item_copy LIKE item`,
      `ALTER TABLE other ADD COLUMN more INT`,
      `TRUNCATE TABLE other`,
      `DROP TABLE other`,
      `INSERT INTO item (id) VALUES (7)`,
      `XA START 'y'`,
      `INSERT INTO item_copy (id) VALUES (1)`,
      `XA END 'y'`,
      `XA PREPARE 'y'`,
      `XA COMMIT 'y'`,
      `INSERT INTO item (id) VALUES (8)`,
    );
    expect(ids(await read((events) => ids(events).length >= 2))).toEqual([7n, 8n]);
  });

  it('reads without the column names in the log, and after a rotation', async () => {
    await run(
      `SET GLOBAL binlog_row_metadata = NO_LOG`,
      `FLUSH BINARY LOGS`,
      `INSERT INTO item VALUES (1, 'ä')`,
    );
    try {
      const events = await read(
        (seen) => seen.some((event) => event.type === 'commit') && ids(seen).length > 0,
      );
      expect(events.find((event) => event.type === 'change')).toMatchObject({ row: [1n, 'ä'] });
    } finally {
      await run(`SET GLOBAL binlog_row_metadata = FULL`);
    }
  });

  it('ends with DB_UNREACHABLE when its connection is killed', async () => {
    await run(`INSERT INTO item (id) VALUES (1)`);
    await read((events) => events.length > 0);
    const rows = await run(`SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'`);
    for (const [id] of rows) await run(`KILL ${String(id)}`);
    expect(await failure()).toMatchObject({ code: 'DB_UNREACHABLE' });
  });

  it('tells an idle source from a dead connection', async () => {
    await changes.close();
    // Five times as fast: silence is noticed after 2 s; the server beats each second.
    const start = systemClock.monotonicMs();
    const fast: Clock = {
      ...systemClock,
      monotonicMs: () => start + (systemClock.monotonicMs() - start) * 5,
    };
    changes = await open(fast);
    reader = await changes.read(position);
    const idleUntil = systemClock.monotonicMs() + 2_600;
    await read(() => systemClock.monotonicMs() > idleUntil);
    process.kill(server.pid, 'SIGSTOP');
    try {
      expect(await failure()).toMatchObject({ code: 'DB_UNREACHABLE' });
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
  });

  it('leaves no connection behind when it is closed', async () => {
    await changes.close();
    await eventually(
      async () =>
        (await run(`SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'`)).length ===
        0,
      { withinMs: 5_000 },
    );
  });

  it('takes no snapshot of a server whose binlog is empty, and takes it after a commit', async () => {
    await changes.close();
    await eventually(
      async () => {
        await run(`RESET MASTER`);
        return true;
      },
      { withinMs: 15_000, what: 'no reader holds the log' },
    );
    changes = await open();
    await expect(changes.snapshot(() => Promise.resolve(true))).rejects.toMatchObject({
      code: 'BINLOG_NO_GTID',
      next: expect.stringContaining('commit any transaction') as string,
    });
    await run(`INSERT INTO item (id) VALUES (1)`);
    await expect(changes.snapshot(() => Promise.resolve(true))).resolves.toMatchObject({
      position: expect.stringMatching(/^\d+-\d+-\d+$/) as string,
    });
  });

  it('ends with a code of its own when the log that it needs is gone, and when it is another', async () => {
    await changes.close();
    await run(
      `INSERT INTO item (id) VALUES (1)`,
      `FLUSH BINARY LOGS`,
      `INSERT INTO item (id) VALUES (2)`,
      `FLUSH BINARY LOGS`,
    );
    const logs = await run(`SHOW BINARY LOGS`);
    await eventually(
      async () => {
        await run(`PURGE BINARY LOGS TO '${String(logs.at(-1)?.[0])}'`);
        return (await run(`SHOW BINARY LOGS`)).length === 1;
      },
      { withinMs: 15_000, what: 'the old logs are gone' },
    );
    changes = await open();
    reader = await changes.read(position);
    expect(await failure()).toMatchObject({ code: 'BINLOG_PURGED' });
    reader = await changes.read(position.replace(/\d+$/, '999999999'));
    expect(await failure()).toMatchObject({ code: 'BINLOG_DIVERGED' });
  });
});
