/**
 * A real cluster whose report database is a group of real servers: what the tests of its failover and of
 * restores share. What is right is told by plain SQL over the source's own table.
 */
import { setTimeout as pause } from 'node:timers/promises';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { expect } from 'vitest';
import type { RunningExecutor } from '../../src/executor/index.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, type FreshDatabase } from '../support/mariadb.ts';
import { Random } from '../support/random.ts';
import { Replicated, type ReplicatedServer } from '../support/replicated.ts';
import { TestCluster } from './cluster-harness.ts';
import { twoExecutors } from './two-executors.ts';

const replicaRefs = (replicas: number): string =>
  Array.from({ length: replicas }, (_, at) => `{ mysql: { url: { env: R${at + 1} } } }`).join(', ');

const jobOf = (replicas: number): string => `version: 1
job: shop
sources:
  shop:
    mysql: { url: { env: SHOP_URL } }
    tables: [{ table: orders, shardKey: shop }]
    window: { lengthMs: 100 }
stores:
  main: { mysql: { url: { env: STORE_URL } } }
databases:
  reports:
    mysql: { url: { env: R0 } }
    replicas: [${replicaRefs(replicas)}]
reports:
  by_shop:
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures: { orders: { kind: count }, revenue: { kind: sum, type: BIGINT } }
    sql: SELECT o.shop AS shop, 1 AS orders, o.cents AS revenue, o._w AS _w FROM o
  extremes:
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures:
      least: { kind: min, type: BIGINT }
      greatest: { kind: max, type: BIGINT }
      amounts: { kind: distinct, type: BIGINT }
    sql: >-
      SELECT o.shop AS shop, o.cents AS least, o.cents AS greatest, o.cents AS amounts, o._w AS _w FROM o
  by_region:
    inputs: { o: { changes: orders }, r: { dimension: regions } }
    keys: { region: BIGINT }
    measures: { orders: { kind: count }, revenue: { kind: sum, type: BIGINT } }
    sql: >-
      SELECT r.region AS region, 1 AS orders, o.cents AS revenue, o._w AS _w FROM o JOIN r ON r.shop = o.shop
  odd_shops:
    class: affectedKeys
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures: { orders: { kind: value, type: BIGINT }, greatest: { kind: value, type: BIGINT } }
    sql: >-
      SELECT shop, COUNT(*) AS orders, MAX(cents) AS greatest FROM o GROUP BY shop HAVING COUNT(*) % 2 = 1
`;

/** What each report has to say, by the source alone. */
const TRUTH = {
  by_shop: 'SELECT shop, COUNT(*) AS orders, SUM(cents) AS revenue FROM orders GROUP BY shop ORDER BY shop',
  extremes:
    'SELECT shop, MIN(cents) AS least, MAX(cents) AS greatest, COUNT(DISTINCT cents) AS amounts ' +
    'FROM orders GROUP BY shop ORDER BY shop',
  // The regions that were copied: the table that was copied may have changed since.
  by_region:
    'SELECT region, COUNT(*) AS orders, SUM(cents) AS revenue FROM orders JOIN regions_copied USING (shop) ' +
    'GROUP BY region ORDER BY region',
  // Rows come and go all the time.
  odd_shops:
    'SELECT shop, COUNT(*) AS orders, MAX(cents) AS greatest FROM orders GROUP BY shop ' +
    'HAVING COUNT(*) % 2 = 1 ORDER BY shop',
};
const SHOPS = 7;
const REGIONS = 3;

/** A load that leaves the machine room: 100 orders a second at most. */
const ORDERS_AT_ONCE = 2;
const PAUSE_MS = 20;

export class ReportWorld {
  readonly cluster: TestCluster;
  readonly group: Replicated;
  readonly #databases: readonly FreshDatabase[];
  readonly #source: Connection;
  readonly #store: Connection;
  readonly #env: Readonly<Record<string, string>>;
  readonly #random = new Random(1);
  #executors: RunningExecutor[] = [];
  #next = 1;
  #load: Promise<void> | undefined;
  #stopLoad = false;

  private constructor(
    cluster: TestCluster,
    group: Replicated,
    databases: readonly FreshDatabase[],
    [source, store]: readonly [Connection, Connection],
    env: Readonly<Record<string, string>>,
  ) {
    this.cluster = cluster;
    this.group = group;
    this.#databases = databases;
    this.#source = source;
    this.#store = store;
    this.#env = env;
  }

  /** With two executors and a job whose reports are right so far. */
  static async start(replicas: number): Promise<ReportWorld> {
    const [group, shop, store, cluster] = await Promise.all([
      Replicated.start({ replicas, database: 'reports' }),
      freshDatabase('report_shop'),
      freshDatabase('report_store'),
      TestCluster.formed(1),
    ]);
    const source = await mysql.createConnection(shop.url);
    await source.query(
      'CREATE TABLE orders (id BIGINT PRIMARY KEY, shop BIGINT NOT NULL, cents BIGINT NOT NULL)',
    );
    await source.query('CREATE TABLE regions (shop BIGINT PRIMARY KEY, region BIGINT NOT NULL)');
    for (let of = 0; of < SHOPS; of += 1) {
      await source.query('INSERT INTO regions VALUES (?, ?)', [of, of % REGIONS]);
    }
    await source.query('CREATE TABLE regions_copied AS SELECT * FROM regions');
    const urls = Array.from({ length: replicas + 1 }, (_, at) => [`R${at}`, group.server(at).url] as const);
    const env = { SHOP_URL: shop.url, STORE_URL: store.url, ...Object.fromEntries(urls) };
    const world = new ReportWorld(
      cluster,
      group,
      [shop, store],
      [source, await mysql.createConnection(store.url)],
      env,
    );
    await world.business(20);
    await world.startExecutors();
    await cluster.client().apply(jobOf(replicas));
    await world.becomesRight(group.server(0));
    return world;
  }

  async stop(): Promise<void> {
    await this.endLoad();
    await this.stopExecutors();
    await this.cluster.stop();
    await this.#source.end();
    await this.#store.end();
    await Promise.all([this.group.stop(), ...this.#databases.map((database) => database.drop())]);
  }

  async startExecutors(): Promise<void> {
    this.#executors = await twoExecutors(this.cluster, this.#env);
  }

  async stopExecutors(): Promise<void> {
    await Promise.all(this.#executors.map((executor) => executor.stop()));
    this.#executors = [];
  }

  /** New orders, changed ones and removed ones. */
  async business(orders: number): Promise<void> {
    for (const end = this.#next + orders; this.#next < end; this.#next += 1) {
      const [shop, cents] = [this.#random.below(SHOPS), this.#random.below(1_000)];
      const [changed, removed] = [this.#random.below(this.#next), this.#random.below(this.#next)];
      await this.#source.query('INSERT INTO orders VALUES (?, ?, ?)', [this.#next, shop, cents]);
      await this.#source.query('UPDATE orders SET shop = ?, cents = cents + 1 WHERE id = ?', [shop, changed]);
      if (removed % 5 === 0) await this.#source.query('DELETE FROM orders WHERE id = ?', [removed]);
    }
  }

  /** Every shop is in another region from now on. No window tells of it: dimensions are not captured. */
  async moveShops(): Promise<void> {
    await this.#source.query('UPDATE regions SET region = (region + 1) % ?', [REGIONS]);
  }

  /** The store loses its copy of the regions; so the next one is of the regions as they are now. */
  async loseCopy(): Promise<void> {
    const [tables] = await this.#store.query<RowDataPacket[]>("SHOW TABLES LIKE 'tm\\_dimension\\_%'");
    const [copy] = tables.flatMap((row): unknown[] => Object.values(row));
    await this.#store.query(`DROP TABLE ${String(copy)}`);
    await this.#source.query(
      'UPDATE regions_copied JOIN regions USING (shop) SET regions_copied.region = regions.region',
    );
  }

  /** Business goes on and on, until {@link endLoad}. */
  beginLoad(): void {
    this.#stopLoad = false;
    const run = async (): Promise<void> => {
      while (!this.#stopLoad) await Promise.all([this.business(ORDERS_AT_ONCE), pause(PAUSE_MS)]);
    };
    this.#load = run();
  }

  async endLoad(): Promise<void> {
    this.#stopLoad = true;
    await this.#load;
    this.#load = undefined;
  }

  /** Waits until every cell that `server` shows is what plain SQL over the source says. */
  async becomesRight(server: ReplicatedServer, withinMs = 45_000): Promise<void> {
    const look = async (): Promise<void> => {
      for (const [report, sql] of Object.entries(TRUTH)) {
        const [truth] = await this.#source.query<RowDataPacket[]>(sql);
        const shown = await server.query(`SELECT * FROM reports.${report} ORDER BY 1`);
        expect(textOf(shown), report).toEqual(textOf(truth));
      }
    };
    await eventually(look, { withinMs, everyMs: 100, what: 'every cell to be right' });
  }

  /** The last window that anything was merged of, on `server`. */
  async lastMerged(server: ReplicatedServer): Promise<number> {
    const sql = 'SELECT MAX(last_window) AS last FROM reports.tm_ledger WHERE applied <> 0';
    return Number((await server.query(sql))[0]?.['last']);
  }

  async mergesOn(server: ReplicatedServer, windows: number): Promise<void> {
    const from = await this.lastMerged(server);
    await eventually(async () => (await this.lastMerged(server)) >= from + windows, {
      withinMs: 30_000,
      what: `${windows} more windows to be merged`,
    });
  }

  async epochOn(server: ReplicatedServer): Promise<bigint> {
    const [row] = await server.query('SELECT CAST(epoch AS CHAR) AS epoch FROM reports.tm_sink');
    return BigInt(String(row?.['epoch']));
  }
}

/** Two servers' drivers need not agree on what a number looks like, but its text is one. */
function textOf(rows: readonly RowDataPacket[]): string[] {
  return rows.map((row) =>
    JSON.stringify(row, (_, value: unknown) => (typeof value === 'number' ? String(value) : value)),
  );
}
