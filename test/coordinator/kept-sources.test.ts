/**
 * Jobs that are applied again over sources whose windows are sealed, through a real cluster: what the file
 * leaves as it is asks nothing of a source that is away, or is not what it was.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { must } from '../../src/base/index.ts';
import type { TidemarkClient } from '../../src/client/index.ts';
import { startExecutor } from '../../src/executor/index.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { insecureCredentials } from '../../src/wire/index.ts';
import { ask } from '../support/broker.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';
import { silentProxyOf, type SilentProxy } from '../support/silent-proxy.ts';
import { TestCluster } from './cluster-harness.ts';
import { listsAsText } from './lists-as-text.ts';

type Kind = 'embedded' | 'mysql';

const BY_SHOP = `  by_shop:
    inputs: { o: { changes: orders }, s: { dimension: shops } }
    keys: { country: TEXT(2) }
    measures: { orders: { kind: count }, revenue: { kind: sum, type: BIGINT } }
    sql: >-
      SELECT s.country AS country, 1 AS orders, o.cents AS revenue, o._w AS _w
      FROM o JOIN s ON s.shop = o.shop
`;
const TOTAL = `  total:
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures: { revenue: { kind: sum, type: BIGINT } }
    sql: SELECT o.shop AS shop, o.cents AS revenue, o._w AS _w FROM o
`;
const REFUNDED = `  refunded:
    inputs: { o: { changes: orders }, r: { changes: refunds } }
    keys: { shop: BIGINT }
    measures: { cents: { kind: sum, type: BIGINT } }
    sql: SELECT o.shop AS shop, r.cents AS cents, o._w * r._w AS _w FROM o JOIN r ON r.id = o.id
`;
const PAUSED = '    paused: true\n';

const RIGHT = [
  ['DE', 2, 150],
  ['FR', 1, 70],
];

class World {
  readonly client: TidemarkClient;
  readonly source: SqlEngine;
  readonly reports: SqlEngine;
  readonly #databases: (name: string) => string;

  private constructor(
    client: TidemarkClient,
    [source, reports]: readonly [SqlEngine, SqlEngine],
    databases: (name: string) => string,
  ) {
    this.client = client;
    this.source = source;
    this.reports = reports;
    this.#databases = databases;
  }

  /** `behind` gives the address at which executors reach the source's server. */
  static async start(kind: Kind, behind?: (url: string) => Promise<string>): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-kept-'));
    const env: Record<string, string> = {};
    const engineOf = async (name: string): Promise<SqlEngine> => {
      if (kind === 'embedded') return openEngine({ kind, file: join(folder, `${name}.db`) });
      const fresh = await freshDatabase(`kept_${name}`);
      onTestFinished(() => fresh.drop());
      env[name] = name === 'shop' && behind !== undefined ? await behind(fresh.url) : fresh.url;
      return openEngine({ kind, url: fresh.url });
    };
    const [source, store, reports] = [await engineOf('shop'), await engineOf('store'), await engineOf('out')];
    const cluster = await TestCluster.formed(1);
    const executor = await startExecutor({
      name: 'e1',
      coordinators: [must(cluster.slots[0], 'slot').clientAddress],
      slots: 2,
      baseFolder: folder,
      env,
      credentials: insecureCredentials(),
      log: pino({ level: process.env['TIDEMARK_TEST_LOG'] ?? 'silent' }),
      version: 'test',
    });
    onTestFinished(async () => {
      await executor.stop();
      await cluster.stop();
      for (const engine of [source, store, reports]) await engine.close();
      await rm(folder, { recursive: true });
    });
    const database = (name: string): string =>
      kind === 'embedded' ? `embedded: { file: ${name}.db }` : `mysql: { url: { env: ${name} } }`;
    const world = new World(cluster.client(), [source, reports], database);
    await world.run(
      'CREATE TABLE shops (shop BIGINT PRIMARY KEY, country VARCHAR(2) NOT NULL)',
      "INSERT INTO shops VALUES (1, 'DE'), (2, 'FR')",
      `CREATE TABLE orders (id BIGINT NOT NULL, shop BIGINT NOT NULL, cents BIGINT NOT NULL,
        PRIMARY KEY (id, shop))`,
      'INSERT INTO orders VALUES (1, 1, 100), (2, 1, 50)',
    );
    await eventually(() => executor.connected, { withinMs: 20_000 });
    return world;
  }

  /** Until {@link shortWindows} the snapshot is the only window. */
  #lengthMs = 600_000;

  tables = 'orders';

  job(reports: readonly string[], tables = this.tables): string {
    return `version: 1
job: shops
sources:
  shop: { ${this.#databases('shop')}, tables: [${tables}], window: { lengthMs: ${this.#lengthMs} } }
stores: { main: { ${this.#databases('store')} } }
databases: { out: { ${this.#databases('out')} } }
reports:
${reports.join('')}`;
  }

  /** Answers what became of each report, by name. */
  async apply(...reports: readonly string[]): Promise<Record<string, string>> {
    const items = await this.client.apply(this.job(reports));
    return Object.fromEntries(
      items.flatMap(({ kind, name, action }) => (kind === 'report' ? [[name, action]] : [])),
    );
  }

  async addTable(table: string, ...reports: readonly string[]): Promise<void> {
    this.tables = `${table}, ${this.tables}`;
    expect(await this.apply(...reports)).toMatchObject({ by_shop: 'unchanged' });
  }

  /** What waits in a long window is shown once windows are shorter. */
  async shortWindows(...reports: readonly string[]): Promise<void> {
    await this.run('INSERT INTO orders VALUES (3, 2, 70)');
    this.#lengthMs = 100;
    expect(await this.client.apply(this.job(reports))).toContainEqual(
      expect.objectContaining({ kind: 'source', name: 'shop', action: 'changed' }),
    );
    await this.shows('by_shop', RIGHT);
  }

  async run(...statements: readonly string[]): Promise<void> {
    await this.source.use('test', async (connection) => {
      for (const sql of statements) await connection.query(sql);
    });
  }

  async shows(report: string, rows: readonly (readonly unknown[])[]): Promise<void> {
    const sql = `SELECT * FROM ${report} ORDER BY 1`;
    const isRight = eventually(
      async () => {
        const found = await this.reports.use('test', (connection) => connection.query(sql));
        expect(found.rows.map((row) => row.map(String))).toEqual(rows.map((row) => row.map(String)));
      },
      { withinMs: 20_000, everyMs: 50, what: `${report} to be right` },
    );
    await isRight.catch(async (cause: unknown) => {
      throw new Error(`${String(cause)}\n${await listsAsText(this.client)}`, { cause });
    });
  }

  async state(name: string): Promise<string | undefined> {
    return (await this.client.listReports()).find((one) => one.name === name)?.state;
  }
}

const refusal = (code: string, ...words: readonly string[]): unknown =>
  expect.objectContaining({
    code,
    message: expect.stringMatching(new RegExp(words.join('.*'))) as string,
  });

async function leavesWhatIsGone(world: World, rows: readonly (readonly unknown[])[]): Promise<void> {
  // A column that no report reads makes none of them anew.
  await world.run('ALTER TABLE shops ADD COLUMN name VARCHAR(9)');
  expect(await world.apply(BY_SHOP)).toMatchObject({ by_shop: 'unchanged' });
  await world.run('DROP TABLE orders');
  expect(await world.apply(BY_SHOP + PAUSED)).toEqual({ by_shop: 'changed' });
  expect(await world.apply(BY_SHOP)).toEqual({ by_shop: 'changed' });
  const gone = refusal('SQL_INVALID', 'report total over source shop');
  await expect(world.apply(BY_SHOP, TOTAL)).rejects.toEqual(gone);
  await world.shows('by_shop', rows);
}

/** A table is added that was made just now, and, when it is copied, a report that joins it. */
async function addsTable(world: World): Promise<void> {
  await world.run(
    'CREATE TABLE refunds (id BIGINT NOT NULL PRIMARY KEY, cents BIGINT NOT NULL)',
    'INSERT INTO refunds VALUES (1, 5)',
    'UPDATE refunds SET cents = 10',
    'INSERT INTO orders VALUES (5, 1, 1)',
  );
  await world.addTable('refunds', BY_SHOP);
  await eventually(
    async () => {
      await world.apply(BY_SHOP, REFUNDED);
    },
    { withinMs: 20_000, everyMs: 100, what: 'the table to be copied' },
  );
  await world.shows('refunded', [[1, 10]]);
  await world.run('INSERT INTO refunds VALUES (3, 7)', 'UPDATE refunds SET cents = 11 WHERE id = 1');
  await world.shows('refunded', [
    [1, 11],
    [2, 7],
  ]);
  await world.run('DELETE FROM orders WHERE id = 5');
  await world.apply(BY_SHOP);
}

describe.skipIf(mariadbMissing())('a job over a source on MySQL', () => {
  it('goes on while the store refuses a table that is added to it', { timeout: 60_000 }, async () => {
    const world = await World.start('mysql');
    await world.apply(BY_SHOP);
    await world.shows('by_shop', RIGHT.slice(0, 1));
    await world.shortWindows(BY_SHOP);
    // As latin1 a row of it is short enough, as utf8mb4 it is too long.
    const names = Array.from({ length: 20 }, (_, at) => `name_${at} VARCHAR(900)`);
    await world.run(
      `CREATE TABLE wide (shop BIGINT PRIMARY KEY, cents BIGINT, ${names.join(', ')}) CHARACTER SET latin1`,
      'CREATE TABLE refunds (id BIGINT NOT NULL PRIMARY KEY, cents BIGINT NOT NULL)',
      'INSERT INTO refunds VALUES (1, 10)',
    );
    const without = world.tables;
    await world.addTable('wide', BY_SHOP);
    const problem = async (): Promise<string> => {
      const [source] = await world.client.listSources();
      return `${source?.state ?? ''} ${source?.problem ?? ''}`;
    };
    const refused = /^adding tables cannot be added: .*too large/s;
    await eventually(async () => refused.test(await problem()), { withinMs: 20_000 });
    const notCopied = refusal('TABLE_NOT_COPIED', 'reads wide');
    await expect(world.apply(BY_SHOP, TOTAL.replaceAll('orders', 'wide'))).rejects.toEqual(notCopied);

    // What is captured and reported goes on, and changes, as it did.
    await world.run('INSERT INTO orders VALUES (4, 2, 30)');
    await world.shows('by_shop', [
      ['DE', 2, 150],
      ['FR', 2, 100],
    ]);
    await world.run('ALTER TABLE orders ADD COLUMN more BIGINT', 'INSERT INTO orders VALUES (5, 2, 1, 9)');
    await world.apply(BY_SHOP, TOTAL);
    await world.shows('total', [
      [1, 150],
      [2, 101],
    ]);

    world.tables = without;
    await world.addTable('refunds', BY_SHOP, TOTAL);
    await eventually(
      async () => {
        await world.apply(BY_SHOP, TOTAL, REFUNDED);
      },
      { withinMs: 20_000, everyMs: 100 },
    );
    await world.shows('refunded', [[1, 10]]);
    expect(await problem()).toBe('running ');
  });

  it('is applied again while the server of the source is away', { timeout: 60_000 }, async () => {
    const port = Number((await ask({ want: 'address' })).split(':').at(-1));
    let url = '';
    let proxy: SilentProxy | undefined;
    const open = async (to: string): Promise<string> => {
      const opened = await silentProxyOf(to, port);
      [url, proxy] = [to, opened];
      return opened.url;
    };
    const world = await World.start('mysql', open);
    await world.apply(BY_SHOP, TOTAL);
    await world.shows('by_shop', RIGHT.slice(0, 1));
    await world.shortWindows(BY_SHOP, TOTAL);
    await proxy?.close();

    expect(await world.apply(BY_SHOP, TOTAL)).toEqual({ by_shop: 'unchanged', total: 'unchanged' });
    expect(await world.apply(BY_SHOP + PAUSED, TOTAL)).toMatchObject({ by_shop: 'changed' });
    const added = TOTAL.replace('total', 'anew');
    const away = refusal('DB_UNREACHABLE', 'source shop cannot be asked about report anew');
    await expect(world.apply(BY_SHOP, TOTAL, added)).rejects.toEqual(away);
    const changed = TOTAL.replace('o.cents AS', 'o.cents + 1 AS');
    await expect(world.apply(BY_SHOP, changed)).rejects.toEqual(refusal('DB_UNREACHABLE', 'report total'));
    expect(await world.apply(BY_SHOP)).toEqual({ by_shop: 'changed', total: 'removed' });
    await eventually(async () => (await world.state('total')) === undefined, { withinMs: 20_000 });

    await open(url);
    onTestFinished(() => proxy?.close());
    await world.run('INSERT INTO orders VALUES (4, 2, 30)');
    const later = [
      ['DE', 2, 150],
      ['FR', 2, 100],
    ];
    await world.shows('by_shop', later);
    expect(await world.apply(BY_SHOP, added)).toMatchObject({ by_shop: 'unchanged', anew: 'created' });
    await world.shows('anew', [
      [1, 150],
      [2, 100],
    ]);

    await addsTable(world);

    // The shard key that it was declared with stays, whatever the primary key begins with.
    await world.run('ALTER TABLE orders DROP PRIMARY KEY, ADD PRIMARY KEY (shop, id)');
    expect(await world.apply(BY_SHOP)).toEqual({ by_shop: 'unchanged' });
    const other = world.job([BY_SHOP], '{ table: orders, shardKey: shop }, refunds');
    const refused = refusal('REPORT_ON_SEALED_SOURCE', 'sharded by id and cannot be sharded by shop');
    await expect(world.client.apply(other)).rejects.toEqual(refused);
    await leavesWhatIsGone(world, later);
  });
});

it('a job over an embedded source is applied again when its table is gone', { timeout: 60_000 }, async () => {
  const world = await World.start('embedded');
  await world.apply(BY_SHOP);
  await world.shows('by_shop', RIGHT.slice(0, 1));
  await world.shortWindows(BY_SHOP);
  await leavesWhatIsGone(world, RIGHT);
});
