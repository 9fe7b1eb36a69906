import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inspectDimension, inspectSource } from '../../src/collector/index.ts';
import { judgeSettings } from '../../src/collector/schema/inspect-mysql.ts';
import { CAPTURED_TABLES, sampleSchema } from '../../src/dev/sample/schema.ts';
import { openEngine, type EngineKind } from '../../src/sql/index.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { openFixture, type Fixture } from './fixtures.ts';

function suite(kind: EngineKind): void {
  let fixture: Fixture;

  beforeEach(async () => {
    fixture = await openFixture(kind);
  });

  afterEach(async () => {
    await fixture.close();
  });

  const inspect = (table: string): Promise<unknown> => inspectSource(fixture.source, { tables: [{ table }] });

  it('reads columns, key and shard key, and changes nothing', async () => {
    await fixture.exec(
      `CREATE TABLE line (shop BIGINT NOT NULL, code VARCHAR(20) NOT NULL, n SMALLINT,
        note VARCHAR(300), at DATETIME, PRIMARY KEY (shop, code))`,
    );
    const found = await inspectSource(fixture.source, {
      tables: [{ table: 'line' }, { table: 'line', shardKey: 'code' }],
    });
    expect(found[0]).toMatchObject({
      table: 'line',
      schemaVersion: 1,
      columns: [
        { name: 'shop', type: 'BIGINT', nullable: false },
        { name: 'code', type: 'TEXT(20)', nullable: false },
        { name: 'n', type: kind === 'mysql' ? 'SMALLINT' : 'BIGINT', nullable: true },
        { name: 'note', type: 'TEXT(300)', nullable: true },
        { name: 'at', type: kind === 'mysql' ? 'DATETIME(0)' : 'DATETIME(6)', nullable: true },
      ],
      primaryKey: ['shop', 'code'],
      shardKey: 'shop',
    });
    expect(found[1]?.shardKey).toBe('code');
  });

  it('reads a dimension without a primary key', async () => {
    await fixture.exec(`CREATE TABLE rate (name VARCHAR(3) NOT NULL, factor BIGINT)`);
    expect(await inspectDimension(fixture.source, 'rate')).toEqual([
      { name: 'name', type: 'TEXT(3)', nullable: false },
      { name: 'factor', type: 'BIGINT', nullable: true },
    ]);
  });

  it.each([
    ['TABLE_MISSING', `SELECT 1`],
    ['TABLE_MISSING', `CREATE VIEW t AS SELECT 1 AS id`],
    ['TABLE_NO_PRIMARY_KEY', `CREATE TABLE t (id BIGINT NOT NULL)`],
    ['COLUMN_TYPE', `CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, _w BIGINT)`],
    [
      'TABLE_CASCADES',
      `CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, p BIGINT,
        FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)`,
    ],
    [
      'TABLE_CASCADES',
      `CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, p BIGINT,
        FOREIGN KEY (p) REFERENCES parent (id) ON UPDATE SET NULL)`,
    ],
  ])('refuses with %s: %s', async (code, statement) => {
    await fixture.exec(`CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY)`, statement);
    await expect(inspect('t')).rejects.toMatchObject({ code });
  });

  it('accepts a foreign key that changes nothing by itself', async () => {
    await fixture.exec(
      `CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY)`,
      `CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, p BIGINT,
        FOREIGN KEY (p) REFERENCES parent (id) ON DELETE RESTRICT)`,
    );
    await expect(inspect('t')).resolves.toHaveLength(1);
  });
}

describe('inspection, embedded', () => {
  suite('embedded');

  it.each([
    ['a constraint', `CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, code TEXT UNIQUE)`],
    ['an index', `CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT); CREATE UNIQUE INDEX i ON t (code)`],
  ])('refuses a second UNIQUE index, but not for a dimension: %s', async (_, statements) => {
    const fixture = await openFixture('embedded');
    await fixture.exec(...statements.split('; '));
    const inspect = inspectSource(fixture.source, { tables: [{ table: 't' }] });
    await expect(inspect).rejects.toMatchObject({ code: 'TABLE_SECOND_UNIQUE' });
    await expect(inspectDimension(fixture.source, 't')).resolves.toHaveLength(2);
    await fixture.close();
  });

  it('accepts the sample tables', async () => {
    const fixture = await openFixture('embedded');
    await fixture.exec(...sampleSchema('embedded'));
    const tables = CAPTURED_TABLES.map(({ table }) => ({ table }));
    await expect(inspectSource(fixture.source, { tables })).resolves.toHaveLength(tables.length);
    await fixture.close();
  });

  it.each([`x DOUBLE`, `twice BIGINT GENERATED ALWAYS AS (id * 2) VIRTUAL`])(
    'refuses with COLUMN_TYPE: %s',
    async (column) => {
      const fixture = await openFixture('embedded');
      await fixture.exec(`CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, ${column})`);
      const inspect = inspectSource(fixture.source, { tables: [{ table: 't' }] });
      await expect(inspect).rejects.toMatchObject({ code: 'COLUMN_TYPE' });
      await fixture.close();
    },
  );

  it('refuses DECIMAL, and a key that may be NULL', async () => {
    const fixture = await openFixture('embedded');
    await fixture.exec(
      `CREATE TABLE a (id BIGINT NOT NULL PRIMARY KEY, price DECIMAL(10,2))`,
      `CREATE TABLE b (code TEXT PRIMARY KEY)`,
    );
    const inspect = (table: string): Promise<unknown> =>
      inspectSource(fixture.source, { tables: [{ table }] });
    await expect(inspect('a')).rejects.toMatchObject({ code: 'DECIMAL_EMBEDDED' });
    await expect(inspect('b')).rejects.toMatchObject({ code: 'TABLE_NO_PRIMARY_KEY' });
    await fixture.close();
  });
});

describe.skipIf(mariadbMissing())('inspection, MariaDB', () => {
  suite('mysql');

  it('reads each type by its name', async () => {
    const fixture = await openFixture('mysql');
    await fixture.exec(
      `CREATE TABLE a (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, price DECIMAL(12,4), text_ TEXT,
        raw VARBINARY(9), day DATE, at TIMESTAMP NULL, flag BIT(3), fixed BINARY(4),
        kind ENUM('x', 'it''s') CHARACTER SET utf8mb4, n INT(5) UNSIGNED ZEROFILL, took TIME(3), born YEAR,
        ratio FLOAT, twice BIGINT AS (n * 2) VIRTUAL, thrice BIGINT AS (n * 3) STORED,
        hidden INT INVISIBLE) CHARSET = latin1`,
    );
    const [a] = await inspectSource(fixture.source, { tables: [{ table: 'a' }] });
    expect(a?.columns.map((column) => column.type)).toEqual([
      ...['BIGINT UNSIGNED', 'DECIMAL(12,4)', 'TEXT(16000)', 'BYTES(9)', 'DATE', 'DATETIME(0)', 'BIT(3)'],
      ...['BINARY(4)', `ENUM('x','it''s')`, 'INT UNSIGNED', 'TIME(3)', 'YEAR', 'FLOAT', 'BIGINT', 'BIGINT'],
      'INT',
    ]);
    await fixture.close();
  });

  it.each([
    ['u', 'UUID'],
    ['p', 'POINT'],
    ['y', 'YEAR(2)'],
    ['z', 'VARCHAR(60) COMPRESSED'],
    ['s', 'VARCHAR(9) CHARACTER SET sjis'],
    ['g', 'ENUM("x") CHARACTER SET gbk'],
    ['i', 'INET6'],
  ])('refuses a column whose values it could not tell: %s %s', async (name, type) => {
    const fixture = await openFixture('mysql');
    await fixture.exec(`CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, ${name} ${type})`);
    await expect(inspectSource(fixture.source, { tables: [{ table: 't' }] })).rejects.toMatchObject({
      code: 'COLUMN_TYPE',
      message: expect.stringContaining(`t.${name} `) as string,
    });
    await fixture.close();
  });

  it('refuses a table of another engine', async () => {
    const fixture = await openFixture('mysql');
    await fixture.exec(`CREATE TABLE d (id BIGINT NOT NULL PRIMARY KEY) ENGINE = Aria`);
    const inspect = inspectSource(fixture.source, { tables: [{ table: 'd' }] });
    await expect(inspect).rejects.toMatchObject({ code: 'SOURCE_UNTELLABLE' });
    await fixture.close();
  });

  it('refuses an account that may not read the binlog', async () => {
    const fixture = await openFixture('mysql');
    const { url } = fixture.address as { url: string };
    const { pathname, host } = new URL(url);
    const user = `u${pathname.slice(-8)}`;
    await fixture.exec(
      `CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY)`,
      `CREATE USER ${user}@'127.0.0.1' IDENTIFIED BY 'secret'`,
      `GRANT SELECT ON ${pathname.slice(1)}.* TO ${user}@'127.0.0.1'`,
    );
    const engine = openEngine({ kind: 'mysql', url: `mysql://${user}:secret@${host}${pathname}` });
    const inspect = (): Promise<unknown> => inspectSource(engine, { tables: [{ table: 't' }] });
    await expect(inspect()).rejects.toMatchObject({ code: 'DB_ACCESS' });
    await fixture.exec(`GRANT REPLICATION SLAVE ON *.* TO ${user}@'127.0.0.1'`);
    await expect(inspect()).resolves.toHaveLength(1);
    await engine.close();
    await fixture.exec(`DROP USER ${user}@'127.0.0.1'`);
    await fixture.close();
  });
});

describe('server settings', () => {
  const good = {
    version: '10.11.6-MariaDB',
    log_bin: 'ON',
    binlog_format: 'ROW',
    binlog_row_image: 'FULL',
    server_id: '1',
  };
  const mysql = {
    ...good,
    version: '8.0.36',
    gtid_mode: 'ON',
    binlog_transaction_compression: 'OFF',
    binlog_row_value_options: '',
  };
  const judge = (settings: Readonly<Record<string, string>>) => (): void => {
    judgeSettings(new Map(Object.entries(settings)));
  };

  it.each([
    ['binlog off', { ...good, log_bin: 'OFF' }, 'BINLOG_NOT_ROW'],
    ['mixed format', { ...good, binlog_format: 'MIXED' }, 'BINLOG_NOT_ROW'],
    ['minimal images', { ...good, binlog_row_image: 'MINIMAL' }, 'BINLOG_NOT_ROW'],
    ['compressed transactions', { ...mysql, binlog_transaction_compression: 'ON' }, 'BINLOG_NOT_ROW'],
    ['partial JSON', { ...mysql, binlog_row_value_options: 'PARTIAL_JSON' }, 'BINLOG_NOT_ROW'],
    ['no server id', { ...good, server_id: '0' }, 'BINLOG_NO_GTID'],
    ['no GTIDs on MySQL', { ...mysql, gtid_mode: 'OFF' }, 'BINLOG_NO_GTID'],
  ])('refuses %s', (_, settings, code) => {
    expect(judge(settings)).toThrow(expect.objectContaining({ code }) as Error);
  });

  it('accepts the others', () => {
    expect(judge(good)).not.toThrow();
    expect(judge(mysql)).not.toThrow();
  });
});
