/**
 * Two store shards, each a real primary with a replica, under a real coordinator and executor: a replica is
 * killed, another lags, and a primary dies before its replica had its last rows. What is right in the end is
 * told by plain SQL over the source.
 */
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { must } from '../../src/base/index.ts';
import { startExecutor, type RunningExecutor } from '../../src/executor/index.ts';
import { insecureCredentials } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';
import { Replicated, type ReplicatedServer } from '../support/replicated.ts';
import { TestCluster } from './cluster-harness.ts';

const JOB = `version: 1
job: shop
sources:
  shop:
    mysql: { url: { env: SHOP_URL } }
    tables: [{ table: orders, shardKey: shop }]
    window: { lengthMs: 100 }
stores:
  first: { mysql: { url: { env: S00 } }, replicas: [{ mysql: { url: { env: S01 } } }] }
  second: { mysql: { url: { env: S10 } }, replicas: [{ mysql: { url: { env: S11 } } }] }
databases:
  reports: { mysql: { url: { env: REPORTS_URL } } }
reports:
  by_shop:
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures: { orders: { kind: count }, revenue: { kind: sum, type: BIGINT } }
    sql: SELECT o.shop AS shop, 1 AS orders, o.cents AS revenue, o._w AS _w FROM o
  by_digit:
    class: affectedKeys
    inputs: { o: { changes: orders, touched: SELECT cents % 10 AS digit FROM o } }
    keys: { digit: BIGINT }
    measures: { orders: { kind: value, type: BIGINT }, shops: { kind: value, type: BIGINT } }
    sql: >-
      SELECT cents % 10 AS digit, COUNT(*) AS orders, COUNT(DISTINCT shop) AS shops FROM o GROUP BY cents % 10
`;

/** The last four of them are on the second shard. */
const SHOPS = 14;

describe.skipIf(mariadbMissing())('a store of two groups with replicas', () => {
  let groups: readonly Replicated[];
  let shop: FreshDatabase;
  let reports: FreshDatabase;
  let server: Connection;
  let cluster: TestCluster;
  let executor: RunningExecutor;

  beforeAll(async () => {
    const start = (): Promise<Replicated> => Replicated.start({ replicas: 1, database: 'store' });
    [groups, shop, reports, cluster] = await Promise.all([
      Promise.all([start(), start()]),
      freshDatabase('failover_shop'),
      freshDatabase('failover_reports'),
      TestCluster.formed(1),
    ]);
    server = await mysql.createConnection(shop.url);
    await server.query(
      'CREATE TABLE orders (id BIGINT PRIMARY KEY, shop BIGINT NOT NULL, cents BIGINT NOT NULL)',
    );
    await server.query('INSERT INTO orders VALUES (1, 1, 1), (2, 2, 2)');
    const stores = groups.flatMap((group, g) =>
      [0, 1].map((at) => [`S${g}${at}`, group.server(at).url] as const),
    );
    executor = await startExecutor({
      name: 'e1',
      coordinators: [must(cluster.slots[0], 'slot').clientAddress],
      slots: 1,
      baseFolder: '.',
      env: { SHOP_URL: shop.url, REPORTS_URL: reports.url, ...Object.fromEntries(stores) },
      credentials: insecureCredentials(),
      log: pino({ level: 'silent' }),
      version: 'test',
    });
    await eventually(() => executor.connected, { withinMs: 10_000 });
    await cluster.client().apply(JOB);
    await eventually(expectRight, { withinMs: 30_000, everyMs: 100 });
  }, 90_000);

  afterAll(async () => {
    await executor.stop();
    await cluster.stop();
    await server.end();
    await Promise.all([...groups.map((group) => group.stop()), shop.drop(), reports.drop()]);
  }, 60_000);

  const serverOf = (group: number, at: number): ReplicatedServer => must(groups[group], 'group').server(at);
  const rows = async (sql: string): Promise<RowDataPacket[]> => (await server.query<RowDataPacket[]>(sql))[0];

  async function expectRight(): Promise<void> {
    expect(await rows(`SELECT * FROM ${reports.name}.by_shop ORDER BY shop`)).toEqual(
      await rows(
        `SELECT shop, COUNT(*) AS orders, CAST(SUM(cents) AS SIGNED) AS revenue
         FROM orders GROUP BY shop ORDER BY shop`,
      ),
    );
    // Groups of rows of both shards.
    expect(await rows(`SELECT * FROM ${reports.name}.by_digit ORDER BY digit`)).toEqual(
      await rows(
        `SELECT cents % 10 AS digit, COUNT(*) AS orders, COUNT(DISTINCT shop) AS shops
         FROM orders GROUP BY digit ORDER BY digit`,
      ),
    );
  }

  let next = 100;
  /** Orders that go to both shards, in some windows, and move from one to the other. */
  async function business(orders: number): Promise<void> {
    for (const end = next + orders; next < end; next += 1) {
      await server.query(`INSERT INTO orders VALUES (${next}, ${next % SHOPS}, ${next})`);
      await server.query('UPDATE orders SET shop = (shop + 1) % ?, cents = cents + 1 WHERE id = ?', [
        SHOPS,
        next - 3,
      ]);
    }
  }

  /** Whether a merge waits for the lock that this connection has. */
  async function mergeWaits(): Promise<boolean> {
    const waiting = await rows(
      `SELECT 1 FROM information_schema.processlist
       WHERE db = '${reports.name}' AND info LIKE '%tm_sink%' AND id <> CONNECTION_ID()`,
    );
    return waiting.length > 0;
  }

  const lastMark = async (of: ReplicatedServer): Promise<number> =>
    Number((await of.query('SELECT MAX(_window) AS last FROM store.tm_mark'))[0]?.['last']);

  it('gathers rows on replicas, which log nothing of it', async () => {
    await business(3);
    await eventually(expectRight, { withinMs: 30_000, everyMs: 100 });
    const [made] = await serverOf(0, 1).query("SHOW GLOBAL STATUS LIKE 'Com_create_temporary_table'");
    expect(Number(made?.['Value'])).toBeGreaterThan(0);
    for (const group of [0, 1]) {
      const [said] = await serverOf(group, 1).query('SELECT @@server_id AS own, @@gtid_binlog_state AS log');
      const logged = String(said?.['log'])
        .split(',')
        .map((gtid) => gtid.split('-')[1]);
      expect(logged).not.toContain(String(said?.['own']));
      expect(logged.length).toBeGreaterThan(0);
    }
  });

  it('stays right when one replica is killed and the other lags', { timeout: 60_000 }, async () => {
    await serverOf(0, 1).kill();
    await serverOf(1, 1).lag();
    await business(20);
    await eventually(expectRight, { withinMs: 30_000, everyMs: 100 });
    for (const group of [0, 1]) {
      const [there] = await serverOf(group, 0).query(
        'SELECT COUNT(*) AS there FROM store.tm_change_1_orders_v1',
      );
      expect(Number(there?.['there'])).toBeGreaterThan(0);
    }
    await serverOf(1, 1).goOn();
    await serverOf(1, 1).catchUp(serverOf(1, 0));
  });

  it('captures again what a failed-over primary had lost', { timeout: 90_000 }, async () => {
    const [former, promoted] = [serverOf(1, 0), serverOf(1, 1)];
    await server.query('BEGIN');
    await server.query(`SELECT * FROM ${reports.name}.tm_sink FOR UPDATE`);
    const other = await mysql.createConnection(shop.url);
    let id = 1_000;
    const order = (): Promise<unknown> =>
      other.query(`INSERT INTO orders VALUES (${(id += 1)}, ${id % SHOPS}, 1)`);
    // The executor's only task waits: what is sealed from here on nobody has computed, let alone merged.
    await eventually(async () => (await order(), await mergeWaits()), { withinMs: 30_000 });
    await promoted.catchUp(former);
    await promoted.goDeaf();
    const had = await lastMark(promoted);
    while ((await lastMark(former)) < had + 5) await order();
    await other.end();
    const sealed = await lastMark(former);
    await former.kill();
    await promoted.promote();
    expect(await lastMark(promoted)).toBe(had);
    await server.query('ROLLBACK');
    await eventually(expectRight, { withinMs: 60_000, everyMs: 200 });
    const [again] = await promoted.query(
      `SELECT COUNT(DISTINCT _window) AS windows FROM store.tm_mark
       WHERE _window > ${had} AND _window <= ${sealed}`,
    );
    expect(Number(again?.['windows'])).toBeGreaterThan(0);
    await business(5);
    await eventually(expectRight, { withinMs: 30_000, everyMs: 100 });
  });
});
