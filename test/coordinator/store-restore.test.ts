/**
 * A store shard that comes back as it was some time ago, and a cluster that does, with row states and a join,
 * under load: change windows that the store has lost are captured again, row states that went back are
 * advanced again, those that are ahead of the cluster are taken back, or read again where they have holes.
 * What is right is told by plain SQL over the source. Run as often as asked for by `npm run test:restores`.
 */
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { must, TOKEN_MAX } from '../../src/base/index.ts';
import { writeSnapshotFile } from '../../src/backup/index.ts';
import { restoreCluster } from '../../src/coordinator/index.ts';
import type { RunningExecutor } from '../../src/executor/index.ts';
import { dropHistory } from '../../src/executor/retention/drop-history.ts';
import { openEngine } from '../../src/sql/index.ts';
import { sourceOf } from '../executor/states/store-shard.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';
import { Random } from '../support/random.ts';
import { Replicated, type ReplicatedServer } from '../support/replicated.ts';
import { TestCluster } from './cluster-harness.ts';
import { differences } from './differences.ts';
import { twoExecutors } from './two-executors.ts';

const CASES = Number(process.env['TIDEMARK_RESTORE_CASES'] ?? '0');
/** Windows that are sealed after the copy was taken. */
const LATER = 6;
const SHOPS = 7;

const REPORTS = `reports:
  by_shop:
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures:
      orders: { kind: count }
      revenue: { kind: sum, type: BIGINT }
      most: { kind: max, type: BIGINT }
    sql: SELECT o.shop AS shop, 1 AS orders, o.cents AS revenue, o.cents AS most, o._w AS _w FROM o
  refunded:
    inputs: { o: { changes: orders }, f: { changes: refunds } }
    keys: { shop: BIGINT }
    measures: { refunds: { kind: count }, kept: { kind: sum, type: BIGINT } }
    sql: >-
      SELECT f.shop AS shop, 1 AS refunds, o.cents - f.cents AS kept, o._w * f._w AS _w
      FROM f JOIN o ON o.shop = f.shop AND o.id = f.id
  odd_shops:
    class: affectedKeys
    inputs: { o: { changes: orders }, f: { changes: refunds, touched: SELECT shop FROM f } }
    keys: { shop: BIGINT }
    measures: { orders: { kind: value, type: BIGINT }, refunds: { kind: value, type: BIGINT } }
    sql: >-
      SELECT o.shop AS shop, COUNT(*) AS orders, COUNT(f.id) AS refunds
      FROM o LEFT JOIN f ON f.id = o.id AND f.shop = o.shop GROUP BY o.shop HAVING COUNT(*) % 2 = 1
`;

/** A report that is added afterwards: it is computed from the row states alone. */
const late = (name: string): string => `  ${name}:
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures: { orders: { kind: count }, revenue: { kind: sum, type: BIGINT } }
    sql: SELECT o.shop AS shop, 1 AS orders, o.cents AS revenue, o._w AS _w FROM o
`;

const jobOf = (added: readonly string[]): string => `version: 1
job: shop
sources:
  shop:
    mysql: { url: { env: SHOP_URL } }
    tables: [{ table: orders, shardKey: shop }, { table: refunds, shardKey: shop }]
    window: { lengthMs: 100 }
stores:
  main: { mysql: { url: { env: STORE_URL } } }
databases:
  reports: { mysql: { url: { env: REPORTS_URL } } }
${REPORTS}${added.map(late).join('')}`;

const TRUTH = {
  by_shop:
    'SELECT shop, COUNT(*) AS orders, CAST(SUM(cents) AS SIGNED) AS revenue, MAX(cents) AS most ' +
    'FROM orders GROUP BY shop ORDER BY shop',
  refunded:
    'SELECT f.shop, COUNT(*) AS refunds, CAST(SUM(o.cents - f.cents) AS SIGNED) AS kept ' +
    'FROM refunds f JOIN orders o USING (id, shop) GROUP BY f.shop ORDER BY f.shop',
  // Rows come and go all the time.
  odd_shops:
    'SELECT shop, COUNT(*) AS orders, COUNT(f.id) AS refunds FROM orders o LEFT JOIN refunds f ' +
    'USING (id, shop) GROUP BY shop HAVING COUNT(*) % 2 = 1 ORDER BY shop',
};
const LATE_TRUTH =
  'SELECT shop, COUNT(*) AS orders, CAST(SUM(cents) AS SIGNED) AS revenue ' +
  'FROM orders GROUP BY shop ORDER BY shop';

class StoreWorld {
  readonly cluster: TestCluster;
  readonly store: ReplicatedServer;
  readonly #group: Replicated;
  readonly #shop: FreshDatabase;
  readonly #reports: FreshDatabase;
  readonly #source: Connection;
  readonly #random = new Random(1);
  readonly #added: string[] = [];
  #executors: RunningExecutor[] = [];
  #next = 1;
  #load: Promise<void> | undefined;
  #stopLoad = false;

  private constructor(
    cluster: TestCluster,
    group: Replicated,
    [shop, reports]: readonly [FreshDatabase, FreshDatabase],
    source: Connection,
  ) {
    this.cluster = cluster;
    this.store = group.server(0);
    this.#group = group;
    this.#shop = shop;
    this.#reports = reports;
    this.#source = source;
  }

  static async start(): Promise<StoreWorld> {
    const [group, shop, reports, cluster] = await Promise.all([
      Replicated.start({ replicas: 0, database: 'store' }),
      freshDatabase('restore_shop'),
      freshDatabase('restore_reports'),
      TestCluster.formed(1),
    ]);
    const source = await mysql.createConnection({ uri: shop.url, multipleStatements: true });
    await source.query(
      'CREATE TABLE orders (id BIGINT PRIMARY KEY, shop BIGINT NOT NULL, cents BIGINT NOT NULL);' +
        'CREATE TABLE refunds (id BIGINT PRIMARY KEY, shop BIGINT NOT NULL, cents BIGINT NOT NULL)',
    );
    const world = new StoreWorld(cluster, group, [shop, reports], source);
    await world.business(40);
    await world.startExecutors();
    await cluster.client().apply(jobOf([]));
    await world.becomesRight();
    return world;
  }

  async stop(): Promise<void> {
    await this.endLoad();
    await this.stopExecutors();
    await this.cluster.stop();
    await this.#source.end();
    await Promise.all([this.#group.stop(), this.#shop.drop(), this.#reports.drop()]);
  }

  async startExecutors(): Promise<void> {
    const env = { SHOP_URL: this.#shop.url, STORE_URL: this.store.url, REPORTS_URL: this.#reports.url };
    this.#executors = await twoExecutors(this.cluster, env);
  }

  async stopExecutors(): Promise<void> {
    await Promise.all(this.#executors.map((executor) => executor.stop()));
    this.#executors = [];
  }

  /** Orders and refunds come, change, move to other shops, and go. */
  async business(orders: number): Promise<void> {
    for (const end = this.#next + orders; this.#next < end; this.#next += 1) {
      const [shop, cents] = [this.#random.below(SHOPS), this.#random.below(1_000)];
      const [id, changed, removed] = [
        this.#next,
        this.#random.below(this.#next),
        this.#random.below(this.#next),
      ];
      const sql = [
        `INSERT INTO orders VALUES (${id}, ${shop}, ${cents})`,
        id % 3 === 0 ? `INSERT INTO refunds VALUES (${id}, ${shop}, ${cents % 10})` : '',
        `UPDATE orders SET shop = ${shop}, cents = cents + 1 WHERE id = ${changed}`,
        `UPDATE refunds SET shop = ${shop} WHERE id = ${changed}`,
        removed % 5 === 0 ? `DELETE FROM orders WHERE id = ${removed}` : '',
      ].filter((statement) => statement !== '');
      await this.#source.query(`BEGIN; ${sql.join('; ')}; COMMIT`);
    }
  }

  /** Changes a refund, and in a later window its order: the state between has both as of other windows. */
  async refundThenOrder(): Promise<void> {
    await this.#source.query('UPDATE refunds SET cents = cents + 7 WHERE id = 3');
    await this.statesGoOn(2);
    await this.#source.query('UPDATE orders SET cents = cents + 100 WHERE id = 3');
  }

  beginLoad(): void {
    this.#stopLoad = false;
    const run = async (): Promise<void> => {
      while (!this.#stopLoad) await Promise.all([this.business(2), pause(20)]);
    };
    this.#load = run();
  }

  async endLoad(): Promise<void> {
    this.#stopLoad = true;
    await this.#load;
    this.#load = undefined;
  }

  /** Waits until every cell, and every row of the row states, is what plain SQL over the source says. */
  async becomesRight(withinMs = 60_000): Promise<void> {
    const truths = [...Object.entries(TRUTH), ...this.#added.map((name) => [name, LATE_TRUTH] as const)];
    const look = async (): Promise<void> => {
      for (const [report, sql] of truths) {
        const [truth] = await this.#source.query<RowDataPacket[]>(sql);
        const [shown] = await this.#source.query<RowDataPacket[]>(
          `SELECT * FROM ${this.#reports.name}.${report} ORDER BY shop`,
        );
        expect(shown, report).toEqual(truth);
      }
      for (const table of ['orders', 'refunds']) {
        const [truth] = await this.#source.query<RowDataPacket[]>(`SELECT * FROM ${table} ORDER BY id`);
        const open = `_to = ${Number.MAX_SAFE_INTEGER}`;
        const states = `store.tm_state_1_${table}_v1`;
        const held = await this.store.query(
          `SELECT id, shop, cents FROM ${states} WHERE ${open} ORDER BY id`,
        );
        expect(held, states).toEqual(truth);
      }
    };
    await eventually(look, { withinMs, everyMs: 200, what: 'every cell and row state to be right' });
  }

  /** Adds a report, which shows the row states as they are by now. */
  async addReport(name: string): Promise<void> {
    this.#added.push(name);
    await this.cluster.client().apply(jobOf(this.#added));
  }

  /** The last window whose rows the store has, and up to where its row states are. */
  async reached(): Promise<{ readonly window: number; readonly states: number }> {
    const [row] = await this.store.query(
      'SELECT (SELECT MAX(_window) FROM store.tm_mark) AS w, (SELECT _window FROM store.tm_state_mark) AS s',
    );
    return { window: Number(row?.['w']), states: Number(row?.['s']) };
  }

  /** Takes a backup of the cluster, and tells the last window that the store has by then. */
  async save(name: string): Promise<{ readonly file: string; readonly window: number }> {
    const file = join(this.cluster.folder, name);
    await writeSnapshotFile(file, this.cluster.client().snapshot());
    return { file, window: (await this.reached()).window };
  }

  async stopAll(): Promise<void> {
    await this.cluster.stopOne(0);
    await this.stopExecutors();
  }

  /** Starts the cluster again as it was in a backup. */
  async restore(file: string): Promise<void> {
    const { dataFolder, peerAddress, clientAddress } = must(this.cluster.slots[0], 'slot');
    await rm(dataFolder, { recursive: true });
    await restoreCluster({ file, dataFolder, own: { peerAddress, clientAddress } });
    await this.cluster.startOne(0);
    await this.cluster.leader();
    await this.startExecutors();
  }

  /** Has the store drop what nobody would read any more if windows up to this one were folded. */
  async drop(window: number): Promise<void> {
    const engine = openEngine({ kind: 'mysql', url: this.store.url });
    const columns = ['id', 'shop', 'cents'].map((name) => ({ name, type: 'BIGINT', nullable: false }));
    const source = sourceOf(
      ['orders', 'refunds'].map((table) => ({
        ...{ table, schemaVersion: 1, columns, primaryKey: ['id'], shardKey: 'shop' },
      })),
    );
    const signal = new AbortController().signal;
    await dropHistory(engine, { sourceId: 1, source, window, token: TOKEN_MAX, signal });
    await engine.close();
  }

  async statesGoOn(windows: number): Promise<void> {
    const { states } = await this.reached();
    await eventually(async () => (await this.reached()).states >= states + windows, {
      withinMs: 60_000,
      what: `the row states to hold ${windows} more windows`,
    });
  }
}

describe.skipIf(mariadbMissing() || CASES === 0)('with row states and a join', () => {
  let world: StoreWorld;

  beforeAll(async () => {
    world = await StoreWorld.start();
  }, 120_000);

  afterAll(() => world.stop(), 60_000);

  afterEach(() => world.endLoad());

  const rounds = Array.from({ length: CASES }, (_, at) => at + 1);

  it.each(rounds)('a store shard from a dump under load, %i', { timeout: 240_000 }, async (round) => {
    const { store } = world;
    world.beginLoad();
    await world.statesGoOn(2);
    const url = new URL(store.url);
    const asked = [`-h${url.hostname}`, `-P${url.port}`, `-u${url.username}`, `-p${url.password}`];
    const dump = await promisify(execFile)(
      'mariadb-dump',
      [...asked, '--single-transaction', '--skip-lock-tables', '--databases', 'store'],
      { maxBuffer: 2 ** 28 },
    );
    await world.statesGoOn(LATER);
    const before = await world.reached();
    await store.query('SET GLOBAL read_only = ON');
    await store.load([dump.stdout]);
    const after = await world.reached();
    expect(after.window).toBeLessThan(before.window);
    expect(after.states).toBeLessThan(before.states);
    await store.query('SET GLOBAL read_only = OFF');
    await eventually(async () => (await world.reached()).states > before.states, {
      withinMs: 90_000,
      what: 'the row states to be advanced again',
    });
    await world.statesGoOn(LATER);
    await world.addReport(`late_${round}`);
    await world.endLoad();
    await world.becomesRight(90_000);
    expect(await differences(world.cluster.client())).toEqual([]);
  });

  it.each(rounds)('a cluster that is older than the store, %i', { timeout: 240_000 }, async (round) => {
    world.beginLoad();
    await world.statesGoOn(2);
    const backup = await world.save(`snapshot-${round}`);
    await world.statesGoOn(LATER);
    await world.stopAll();
    // The collector goes on from a place before what the store holds, and numbers windows anew.
    const before = await world.reached();
    expect(before.states).toBeGreaterThan(backup.window);
    await world.restore(backup.file);
    await eventually(async () => (await world.reached()).states > before.states, {
      withinMs: 90_000,
      what: 'the row states to go on under the restored cluster',
    });
    await world.addReport(`again_${round}`);
    await world.endLoad();
    await world.becomesRight(90_000);
    expect(await differences(world.cluster.client())).toEqual([]);
  });

  it.each(rounds)(
    'a cluster that is older than what was dropped, %i',
    { timeout: 240_000 },
    async (round) => {
      world.beginLoad();
      await world.statesGoOn(2);
      const backup = await world.save(`old-${round}`);
      await world.refundThenOrder();
      await world.statesGoOn(LATER);
      await world.stopAll();
      const before = await world.reached();
      expect(before.states).toBeGreaterThan(backup.window);
      await world.drop(before.states);
      await world.restore(backup.file);
      const client = world.cluster.client();
      const stuck = await eventually(
        async () =>
          (await client.listSources()).find(({ problem }) => problem.includes('HISTORY_DROPPED')) ?? false,
        { withinMs: 60_000, what: 'the source to be stuck' },
      );
      expect(stuck).toMatchObject({ state: 'stuck', next: 'tidemark source resnapshot shop --yes' });
      await client.resnapshot('shop');
      await world.statesGoOn(LATER);
      await world.addReport(`anew_${round}`);
      await world.endLoad();
      await world.becomesRight(90_000);
      expect(await differences(client)).toEqual([]);
    },
  );
});
