/**
 * Two store shards from the command line, on MariaDB: a job is applied, business goes on, and the executor
 * that collects is killed in the middle. What is right in the end is told by plain SQL over the source, and
 * where rows lie by the slots that MariaDB itself computes.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Terminals } from '../docs/terminals.ts';
import { ask } from '../support/broker.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';

const TIDEMARK = 'node dist/cli/main.js';
const SHOPS = 50;
const JOB = `version: 1
job: shops
sources:
  shop:
    mysql: { url: { env: SHOP_URL } }
    tables:
      - { table: orders, shardKey: shop }
      - { table: refunds, shardKey: shop }
      - { table: rates, replicated: true }
    window: { lengthMs: 200 }
stores:
  first: { mysql: { url: { env: FIRST_URL } }, slots: 0-511 }
  second: { mysql: { url: { env: SECOND_URL } }, slots: 512-1023 }
databases:
  reports: { mysql: { url: { env: REPORTS_URL } } }
reports:
  by_country:
    inputs: { o: { changes: orders }, s: { dimension: shops } }
    keys: { country: TEXT(2) }
    measures:
      orders: { kind: count }
      revenue: { kind: sum, type: BIGINT }
      largest: { kind: max, type: BIGINT }
    sql: |
      SELECT s.country AS country, 1 AS orders, o.cents AS revenue, o.cents AS largest, o._w AS _w
      FROM o JOIN s ON s.shop = o.shop
  by_code:
    inputs: { r: { changes: rates } }
    keys: { code: TEXT(3) }
    measures: { rate: { kind: sum, type: BIGINT } }
    sql: SELECT r.code AS code, r.rate AS rate, r._w AS _w FROM r
  refunded:
    inputs: { o: { changes: orders }, f: { changes: refunds }, r: { changes: rates } }
    keys: { code: TEXT(3) }
    measures:
      refunds: { kind: count }
      kept: { kind: sum, type: BIGINT }
      most: { kind: max, type: BIGINT }
    sql: |
      SELECT r.code AS code, 1 AS refunds, o.cents - f.cents * r.rate AS kept,
        o.cents AS most, o._w * f._w * r._w AS _w
      FROM f JOIN o ON o.shop = f.shop AND o.id = f.id JOIN r ON r.code = f.code
  found:
    class: affectedKeys
    inputs:
      r: { changes: rates, touched: SELECT code FROM r }
      f: { changes: refunds, touched: SELECT code FROM f }
      o: { changes: orders, touched: SELECT f.code FROM o JOIN f ON f.id = o.id }
    keys: { code: TEXT(3) }
    measures:
      rate: { kind: value, type: BIGINT }
      refunds: { kind: value, type: BIGINT }
      shops: { kind: value, type: BIGINT }
    sql: |
      SELECT r.code, MAX(r.rate) AS rate, COUNT(f.id) AS refunds, COUNT(DISTINCT o.shop) AS shops
      FROM r LEFT JOIN f ON f.code = r.code LEFT JOIN o ON o.id = f.id GROUP BY r.code
`;

/** Slots as the decision says, by MariaDB's own CRC32. */
const SLOT_OF_SHOP = "CRC32(CONCAT('|i', shop)) % 1024";

interface SourceShown {
  readonly name: string;
  readonly lastWindow: string;
  readonly mergedWindow: string;
  readonly collectorExecutorId: string;
  readonly coversMs: string;
  readonly problem: string;
  readonly states: readonly {
    readonly shard: string;
    readonly window: string;
    readonly executorId: string;
  }[];
}

describe.skipIf(mariadbMissing())('two store shards by hand', () => {
  const databases: Record<'SHOP' | 'FIRST' | 'SECOND' | 'REPORTS', FreshDatabase | undefined> = {
    SHOP: undefined,
    FIRST: undefined,
    SECOND: undefined,
    REPORTS: undefined,
  };
  let server: Connection;
  let terminals: Terminals;
  let endpoint: string;

  beforeAll(async () => {
    const environment: Record<string, string> = {};
    for (const role of ['SHOP', 'FIRST', 'SECOND', 'REPORTS'] as const) {
      databases[role] = await freshDatabase(`shards_${role.toLowerCase()}`);
      environment[`${role}_URL`] = databases[role].url;
    }
    server = await mysql.createConnection({ uri: environment['SHOP_URL'] ?? '', multipleStatements: true });
    const shops = Array.from({ length: SHOPS }, (_, shop) => `(${shop}, '${['DE', 'FR', 'NL'][shop % 3]}')`);
    const orders = Array.from({ length: 200 }, (_, id) => `(${id}, ${id % SHOPS}, ${id * 10})`);
    await server.query(`
      CREATE TABLE shops (shop BIGINT PRIMARY KEY, country CHAR(2) NOT NULL);
      CREATE TABLE orders (id BIGINT PRIMARY KEY, shop BIGINT NOT NULL, cents BIGINT NOT NULL);
      CREATE TABLE rates (code CHAR(3) PRIMARY KEY, rate BIGINT NOT NULL);
      CREATE TABLE refunds (
        id BIGINT PRIMARY KEY, shop BIGINT NOT NULL, code CHAR(3) NOT NULL, cents BIGINT NOT NULL);
      INSERT INTO shops VALUES ${shops.join()};
      INSERT INTO orders VALUES ${orders.join()};
      INSERT INTO refunds SELECT id, shop, IF(id % 2, 'EUR', 'USD'), id FROM orders WHERE id % 3 = 0;
      INSERT INTO rates VALUES ('EUR', 100), ('USD', 92)`);
    endpoint = await ask({ want: 'address' });
    terminals = await Terminals.inClone(environment);
    await writeFile(join(terminals.folder, 'job.yaml'), JOB);
  }, 60_000);

  afterAll(async () => {
    await terminals.close();
    await server.end();
    for (const database of Object.values(databases)) await database?.drop();
  });

  const name = (role: keyof typeof databases): string => databases[role]?.name ?? '';
  const reports = (): string => name('REPORTS');
  const tidemark = (words: string): Promise<string> =>
    terminals.run(`${TIDEMARK} ${words} --endpoints ${endpoint}`);
  const executor = (id: string): string => `${TIDEMARK} executor start --name ${id} --endpoints ${endpoint}`;
  const rows = async (sql: string): Promise<RowDataPacket[]> => (await server.query<RowDataPacket[]>(sql))[0];

  const source = async (): Promise<SourceShown> => {
    const shown = JSON.parse(await tidemark('source list --output json')) as { sources: SourceShown[] };
    const [only] = shown.sources;
    if (only === undefined) throw new Error('no source is shown');
    return only;
  };

  /** The name of an executor that is registered. */
  const nameOf = async (id: string): Promise<string> => {
    const { executors } = JSON.parse(await tidemark('executor list --output json')) as {
      executors: { executorId: string; name: string }[];
    };
    return executors.find(({ executorId }) => executorId === id)?.name ?? 'nobody';
  };

  /** Orders come, grow, move to other shops and so to other shards, and go. */
  const business = async (from: number, to: number): Promise<void> => {
    for (let n = from; n < to; n += 1) {
      const sql = [
        `INSERT INTO orders VALUES (${1_000 + n}, ${(n * 7) % SHOPS}, ${n})`,
        `UPDATE orders SET shop = (shop + 1) % ${SHOPS}, cents = cents + 1 WHERE id = ${n % 200}`,
        `DELETE FROM orders WHERE id = ${1_000 + n - 20}`,
        `UPDATE rates SET rate = rate + 1 WHERE code = 'USD'`,
        `INSERT INTO refunds VALUES (${1_000 + n}, ${(n * 7) % SHOPS}, 'USD', ${n})`,
        // What is refunded moves after its order, sometimes later: meanwhile it finds none.
        `UPDATE refunds f JOIN orders o USING (id) SET f.shop = o.shop WHERE id BETWEEN ${n % 150} AND 149`,
        `DELETE FROM refunds WHERE id = ${1_000 + n - 15}`,
      ];
      await server.query(`BEGIN; ${sql.join('; ')}; COMMIT`);
    }
  };

  /** Compares reports with plain SQL over the business tables. */
  const expectRight = async (): Promise<void> => {
    expect(await rows(`SELECT * FROM ${reports()}.by_country ORDER BY country`)).toEqual(
      await rows(
        `SELECT s.country, COUNT(*) AS orders, CAST(SUM(o.cents) AS SIGNED) AS revenue,
           MAX(o.cents) AS largest
         FROM orders o JOIN shops s USING (shop) GROUP BY s.country ORDER BY s.country`,
      ),
    );
    expect(await rows(`SELECT * FROM ${reports()}.by_code ORDER BY code`)).toEqual(
      await rows('SELECT code, rate FROM rates ORDER BY code'),
    );
    expect(await rows(`SELECT * FROM ${reports()}.refunded ORDER BY code`)).toEqual(
      await rows(
        `SELECT code, COUNT(*) AS refunds, CAST(SUM(o.cents - f.cents * rate) AS SIGNED) AS kept,
           MAX(o.cents) AS most
         FROM refunds f JOIN orders o USING (id, shop) JOIN rates USING (code) GROUP BY code ORDER BY code`,
      ),
    );
    // A refund and its order may lie on two shards.
    expect(await rows(`SELECT * FROM ${reports()}.found ORDER BY code`)).toEqual(
      await rows(
        `SELECT r.code, MAX(r.rate) AS rate, COUNT(f.id) AS refunds, COUNT(DISTINCT o.shop) AS shops
         FROM rates r LEFT JOIN refunds f USING (code) LEFT JOIN orders o USING (id)
         GROUP BY r.code ORDER BY r.code`,
      ),
    );
  };

  /** How many change rows a shard has, and how many of them are not its own. */
  const changeRows = async (role: 'FIRST' | 'SECOND'): Promise<readonly [number, number]> => {
    const own = role === 'FIRST' ? '0 AND 511' : '512 AND 1023';
    const [counted] = await rows(
      `SELECT COUNT(*) AS there, COUNT(IF(${SLOT_OF_SHOP} BETWEEN ${own}, NULL, 1)) AS strange
       FROM ${name(role)}.tm_change_1_orders_v1`,
    );
    return [counted?.['there'] as number, counted?.['strange'] as number];
  };

  it('reports stay right when the collecting executor is killed', { timeout: 120_000 }, async () => {
    const peer = await ask({ want: 'address' });
    await terminals.open(
      `${TIDEMARK} coordinator start --data c1 --peer-listen ${peer} --client-listen ${endpoint}`,
    );
    await terminals.open(executor('e1'));
    await terminals.open(executor('e2'));
    await tidemark('cluster init');
    const said = await eventually(() => tidemark('apply -f job.yaml'), { withinMs: 20_000, everyMs: 500 });
    expect(said).toContain('for which the rows of all store shards are gathered');
    await business(0, 20);
    await eventually(async () => Number((await source()).mergedWindow) > 1, {
      withinMs: 30_000,
      everyMs: 300,
      what: () => terminals.said(),
    });

    const { collectorExecutorId: victim, mergedWindow } = await source();
    const collecting = executor(await nameOf(victim));
    const going = business(20, 120);
    await terminals.kill(collecting);
    await going;
    await eventually(expectRight, { withinMs: 40_000, everyMs: 300, what: () => terminals.said() });

    const after = await source();
    expect(after.collectorExecutorId).not.toBe(victim);
    expect(Number(after.mergedWindow)).toBeGreaterThan(Number(mergedWindow));
    for (const role of ['FIRST', 'SECOND'] as const) {
      const [there, strange] = await changeRows(role);
      expect([strange, there > 20]).toEqual([0, true]);
      const [shown] = await rows(`SELECT COUNT(DISTINCT _epoch) AS epochs FROM ${name(role)}.tm_mark`);
      expect(shown?.['epochs']).toBeGreaterThanOrEqual(2);
    }
    const parts = await rows(
      `SELECT report_id, COUNT(DISTINCT part) AS parts FROM ${reports()}.tm_ledger
       GROUP BY report_id ORDER BY report_id`,
    );
    expect(parts.map(({ parts: count }) => count as number)).toEqual([2, 1, 2, 1]);
  });

  /** Connections that wait for the row states of the first shard. */
  const waiting = async (): Promise<number[]> => {
    const found = await rows(
      `SELECT id FROM information_schema.PROCESSLIST
       WHERE DB = '${name('FIRST')}' AND INFO LIKE '%tm_state_mark%'`,
    );
    return found.map(({ id }) => id as number);
  };

  /** The executor that takes the row states of the first shard further. */
  const holder = async (): Promise<string> => {
    const { states } = await source();
    return states.find(({ shard }) => shard === 'first')?.executorId ?? '0';
  };

  it(
    'joins stay right when an executor is killed inside its transaction on row states',
    { timeout: 120_000 },
    async () => {
      await terminals.open(executor('e3'));
      const locking = await mysql.createConnection({ uri: databases.FIRST?.url ?? '' });
      onTestFinished(() => {
        locking.destroy();
      });
      await locking.query('BEGIN');
      await locking.query('SELECT * FROM tm_state_mark FOR UPDATE');
      await business(120, 140);
      const stuck = await eventually(
        async () => {
          const [connection] = await waiting();
          const executorId = await holder();
          if (connection === undefined || executorId === '0') throw new Error('nobody waits');
          return { connection, executorId };
        },
        { withinMs: 30_000, everyMs: 200, what: () => terminals.said() },
      );
      await terminals.kill(executor(await nameOf(stuck.executorId)));
      await business(140, 160);
      // The next grant ends the connection of the one before, which waits on although its executor is dead.
      await eventually(
        async () => {
          const connections = await waiting();
          expect(connections).toHaveLength(1);
          expect(connections).not.toContain(stuck.connection);
        },
        { withinMs: 40_000, everyMs: 200, what: () => terminals.said() },
      );
      expect(await holder()).not.toBe(stuck.executorId);
      await locking.query('ROLLBACK');
      await eventually(expectRight, { withinMs: 40_000, everyMs: 300, what: () => terminals.said() });
    },
  );
});
