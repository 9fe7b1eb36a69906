/**
 * Tables that are altered, renamed and dropped under running reports, from the command line on MariaDB: which
 * report stops and why, what leads a stuck source on, and that all others stay right. Told by plain SQL.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Terminals } from '../docs/terminals.ts';
import { ask } from '../support/broker.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';

/** `npm run test:alters`: it takes longer than the part of it in bad-reports.test.ts. */
const CASES = Number(process.env['TIDEMARK_ALTERS_CASES'] ?? '0');
const TIDEMARK = 'node dist/cli/main.js';
const ROLES = ['SHOP', 'MILL', 'STORE', 'REPORTS'] as const;
const JOB = `version: 1
job: shops
sources:
  shop: { mysql: { url: { env: SHOP_URL } }, tables: [orders, refunds], window: { lengthMs: 200 } }
  mill: { mysql: { url: { env: MILL_URL } }, tables: [sacks], window: { lengthMs: 200 } }
stores:
  store: { mysql: { url: { env: STORE_URL } } }
databases:
  reports: { mysql: { url: { env: REPORTS_URL } } }
reports:
  by_note:
    source: shop
    inputs: { o: { changes: orders } }
    keys: { note: TEXT(8) }
    measures: { orders: { kind: count } }
    sql: SELECT o.note AS note, 1 AS orders, o._w AS _w FROM o
  by_shop:
    source: shop
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures: { cents: { kind: sum, type: BIGINT } }
    sql: SELECT o.shop AS shop, o.cents AS cents, o._w AS _w FROM o
  refunded:
    source: shop
    inputs: { o: { changes: orders }, f: { changes: refunds } }
    keys: { shop: BIGINT }
    measures: { cents: { kind: sum, type: BIGINT }, most: { kind: max, type: BIGINT } }
    sql: |
      SELECT o.shop AS shop, f.cents AS cents, o.cents AS most, o._w * f._w AS _w
      FROM o JOIN f ON f.id = o.id
  ground:
    source: mill
    inputs: { s: { changes: sacks } }
    keys: { kind: BIGINT }
    measures: { weight: { kind: sum, type: BIGINT } }
    sql: SELECT s.kind AS kind, s.weight AS weight, s._w AS _w FROM s
`;

interface Shown {
  readonly name: string;
  readonly state: string;
  readonly problem: string;
  readonly next: string;
  readonly tables: readonly { readonly table: string; readonly schemaVersion: number }[];
}

describe.skipIf(mariadbMissing() || CASES === 0)('altered tables by hand', () => {
  const databases: FreshDatabase[] = [];
  let server: Connection;
  let mill: Connection;
  let terminals: Terminals;
  let endpoint: string;
  let next = 100;

  beforeAll(async () => {
    const environment: Record<string, string> = {};
    for (const role of ROLES) {
      const database = await freshDatabase(`altered_${role.toLowerCase()}`);
      databases.push(database);
      environment[`${role}_URL`] = database.url;
    }
    server = await mysql.createConnection({ uri: environment['SHOP_URL'] ?? '', multipleStatements: true });
    mill = await mysql.createConnection({ uri: environment['MILL_URL'] ?? '', multipleStatements: true });
    const orders = Array.from({ length: 90 }, (_, id) => `(${id}, ${id % 7}, ${id * 10}, 'n${id % 3}')`);
    await server.query(`
      CREATE TABLE orders (
        id INT PRIMARY KEY, shop INT NOT NULL, cents INT NOT NULL, note VARCHAR(8) NOT NULL DEFAULT 'new');
      CREATE TABLE refunds (id INT PRIMARY KEY, cents INT NOT NULL);
      INSERT INTO orders VALUES ${orders.join()};
      INSERT INTO refunds SELECT id, id FROM orders WHERE id % 4 = 0`);
    await mill.query(`
      CREATE TABLE sacks (id BIGINT PRIMARY KEY, kind BIGINT NOT NULL, weight BIGINT NOT NULL);
      INSERT INTO sacks VALUES (1, 1, 20), (2, 2, 25)`);
    endpoint = await ask({ want: 'address' });
    terminals = await Terminals.inClone(environment);
    const peer = await ask({ want: 'address' });
    await terminals.open(
      `${TIDEMARK} coordinator start --data c1 --peer-listen ${peer} --client-listen ${endpoint}`,
    );
    await terminals.open(executor('e1'));
    await tidemark('cluster init');
    await writeFile(join(terminals.folder, 'job.yaml'), JOB);
    await eventually(() => tidemark('apply -f job.yaml'), { withinMs: 20_000, everyMs: 300 });
  }, 120_000);

  afterAll(async () => {
    await terminals.close();
    await server.end();
    await mill.end();
    for (const database of databases) await database.drop();
  });

  const executor = (id: string): string => `${TIDEMARK} executor start --name ${id} --endpoints ${endpoint}`;
  const tidemark = (words: string): Promise<string> =>
    terminals.run(`${TIDEMARK} ${words} --endpoints ${endpoint}`);
  const shown = async (what: 'source' | 'report', name: string): Promise<Shown> => {
    const lists = JSON.parse(await tidemark(`${what} list --output json`)) as Record<string, Shown[]>;
    const found = lists[`${what}s`]?.find((one) => one.name === name);
    if (found === undefined) throw new Error(`no ${what} ${name}`);
    return found;
  };
  const rows = async (from: Connection, sql: string): Promise<RowDataPacket[]> =>
    (await from.query<RowDataPacket[]>(sql))[0];
  const cells = (name: string, columns: string): Promise<RowDataPacket[]> =>
    rows(server, `SELECT ${columns} FROM ${databases[3]?.name ?? ''}.${name} ORDER BY 1`);

  /** Orders and refunds come, change, move to other shops and go; in the mill too. */
  const business = async (): Promise<void> => {
    for (let left = 8; left > 0; left -= 1, next += 1) {
      await server.query(`BEGIN;
        INSERT INTO orders (id, shop, cents) VALUES (${next}, ${next % 7}, ${next});
        UPDATE orders SET shop = (shop + 1) % 7, cents = cents + 3 WHERE id = ${(next * 7) % 90};
        DELETE FROM orders WHERE id = ${(next * 5) % 90};
        INSERT INTO refunds (id, cents) VALUES (${next}, 2);
        UPDATE refunds SET cents = cents + 1 WHERE id % 8 = ${next % 8}; COMMIT`);
      await mill.query(`INSERT INTO sacks VALUES (${next}, ${next % 3}, ${next})`);
    }
  };

  const ground = async (): Promise<void> => {
    expect(await cells('ground', 'kind, weight')).toEqual(
      await rows(
        mill,
        'SELECT kind, CAST(SUM(weight) AS SIGNED) AS weight FROM sacks GROUP BY kind ORDER BY 1',
      ),
    );
  };
  const right = async (): Promise<void> => {
    await ground();
    await shopRight();
  };
  const shopRight = async (): Promise<void> => {
    expect(await cells('by_shop', 'shop, cents')).toEqual(
      await rows(
        server,
        'SELECT shop, CAST(SUM(cents) AS SIGNED) AS cents FROM orders GROUP BY shop ORDER BY 1',
      ),
    );
    expect(await cells('refunded', 'shop, cents, most')).toEqual(
      await rows(
        server,
        `SELECT shop, CAST(SUM(f.cents) AS SIGNED) AS cents, MAX(o.cents) AS most
         FROM orders o JOIN refunds f USING (id) GROUP BY shop ORDER BY 1`,
      ),
    );
  };
  const soon = <T>(check: () => Promise<T>): Promise<Exclude<T, false>> =>
    eventually(check, { withinMs: 30_000, everyMs: 150, what: () => terminals.said() });
  const versions = async (): Promise<unknown> =>
    (await shown('source', 'shop')).tables.map(({ table, schemaVersion }) => `${table} v${schemaVersion}`);

  it('stop the report that reads what is gone; row states are carried on', { timeout: 90_000 }, async () => {
    await soon(right);
    await server.query('ALTER TABLE orders MODIFY cents BIGINT NOT NULL, ADD more INT NOT NULL DEFAULT 4');
    await business();
    await soon(async () => {
      expect(await versions()).toEqual(['orders v2', 'refunds v1']);
    });
    const notes = await rows(server, 'SELECT note, COUNT(*) AS orders FROM orders GROUP BY note ORDER BY 1');
    const businessDuring = server.query('ALTER TABLE orders DROP COLUMN note').then(business);
    // Who collects dies while the definitions are read.
    await terminals.kill(executor('e1'));
    await businessDuring;
    await terminals.open(executor('e2'));
    await server.query('UPDATE orders SET cents = 5000000000 WHERE id % 20 = 3');
    await soon(right);
    expect(await shown('report', 'by_note')).toMatchObject({
      state: 'stopped',
      problem: expect.stringMatching(
        /^REPORT_COLUMN_CHANGED: report by_note stops before window \d+: column orders.note: it is gone$/,
      ) as string,
    });
    for (const name of ['by_shop', 'refunded', 'ground']) {
      expect(await shown('report', name)).toMatchObject({ state: 'live', problem: '' });
    }
    // It stays as it was before the statement.
    expect(await cells('by_note', 'note, orders')).toEqual(notes);
    expect(await versions()).toEqual(['orders v3', 'refunds v1']);
    expect(await tidemark('source list')).toMatch(/shop +running .* orders v3 /);
    // Written without the column, it goes on as its next generation.
    const without = JOB.replace('SELECT o.note AS note', "SELECT CONCAT('s', o.shop) AS note");
    await writeFile(join(terminals.folder, 'job.yaml'), without);
    await tidemark('apply -f job.yaml');
    await business();
    await soon(async () => {
      expect(await cells('by_note', 'note, orders')).toEqual(
        await rows(
          server,
          "SELECT CONCAT('s', shop) AS note, COUNT(*) AS orders FROM orders GROUP BY shop ORDER BY 1",
        ),
      );
    });
    await soon(right);
  });

  const stuck = async (message: RegExp): Promise<void> => {
    await soon(async () => {
      expect(await shown('source', 'shop')).toMatchObject({
        state: 'stuck',
        problem: expect.stringMatching(message) as string,
        next: 'tidemark source resnapshot shop --yes',
      });
    });
  };

  it('of another table under the same name: the source is read again', { timeout: 90_000 }, async () => {
    await server.query('CREATE TABLE fresh LIKE orders');
    await server.query('INSERT INTO fresh SELECT id, shop, cents + 1, more FROM orders WHERE id % 3 > 0');
    await server.query('RENAME TABLE orders TO former, fresh TO orders');
    await business();
    await stuck(/^SCHEMA_CHANGED: a captured table was made anew by: RENAME TABLE orders/);
    await soon(ground);
    await tidemark('source resnapshot shop --yes');
    await soon(right);
    expect(await shown('source', 'shop')).toMatchObject({ state: 'running', problem: '', next: '' });
  });

  it('of a table that is gone: read again once it is there again', { timeout: 90_000 }, async () => {
    await server.query('DROP TABLE refunds');
    await mill.query('INSERT INTO sacks VALUES (7, 7, 7)');
    await stuck(/^SCHEMA_CHANGED: a captured table was made anew by: DROP TABLE/);
    await tidemark('source resnapshot shop --yes');
    await soon(async () => {
      expect(await shown('source', 'shop')).toMatchObject({
        state: 'stuck',
        problem: expect.stringMatching(/^SCHEMA_CHANGED: .*there is no table refunds/) as string,
        next: expect.stringMatching(/^Give the source its captured tables/) as string,
      });
    });
    await ground();
    await server.query('CREATE TABLE refunds (id INT PRIMARY KEY, cents INT NOT NULL)');
    await business();
    await soon(right);
    expect(await shown('source', 'shop')).toMatchObject({ state: 'running', problem: '' });
  });

  it('whose log is purged while nobody collects: read again', { timeout: 90_000 }, async () => {
    await terminals.kill(executor('e2'));
    await business();
    // A log that somebody still reads is not purged.
    await soon(async () => {
      await server.query('FLUSH BINARY LOGS');
      const logs = await rows(server, 'SHOW BINARY LOGS');
      await server.query(`PURGE BINARY LOGS TO '${String(logs.at(-1)?.['Log_name'])}'`);
      expect(await rows(server, 'SHOW BINARY LOGS')).toHaveLength(1);
    });
    await terminals.open(executor('e3'));
    const lost = { state: 'lost', problem: expect.stringMatching(/^BINLOG_PURGED: /) as string };
    await soon(async () => {
      const next = 'tidemark source resnapshot shop --yes';
      expect(await shown('source', 'shop')).toMatchObject({ ...lost, next });
      // No report of it reads row states.
      const instead = expect.stringMatching(
        /^Replace the source and its reports by others of other names/,
      ) as string;
      expect(await shown('source', 'mill')).toMatchObject({ ...lost, next: instead });
    });
    await expect(tidemark('source resnapshot mill --yes')).rejects.toThrow('RESNAPSHOT_REFUSED');
    await tidemark('source resnapshot shop --yes');
    await business();
    await soon(shopRight);
    expect(await shown('source', 'shop')).toMatchObject({ state: 'running', problem: '', next: '' });
  });
});
