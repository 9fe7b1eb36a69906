/**
 * Reports are added, redefined, paused and removed from the command line while business goes on, on MariaDB,
 * and an executor is killed in the middle of each. What is right is told by plain SQL over the source.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Terminals } from '../docs/terminals.ts';
import { ask } from '../support/broker.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';

const TIDEMARK = 'node dist/cli/main.js';
const SHOPS = 20;
const ROLES = ['SHOP', 'STORE', 'REPORTS'] as const;

const BY_SHOP = `  by_shop:
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures: { orders: { kind: count }, revenue: { kind: sum, type: BIGINT } }
    sql: SELECT o.shop AS shop, 1 AS orders, o.cents AS revenue, o._w AS _w FROM o
`;
/** Another key, another measure, and a join with the state of another table. */
const BY_SHOP_AGAIN = `  by_shop:
    inputs: { o: { changes: orders }, f: { changes: refunds } }
    keys: { shop: BIGINT, refund: BIGINT }
    measures: { orders: { kind: count }, largest: { kind: max, type: BIGINT } }
    sql: >
      SELECT o.shop AS shop, f.cents AS refund, 1 AS orders, o.cents AS largest, o._w * f._w AS _w
      FROM o JOIN f ON f.id = o.id
`;
const BY_COUNTRY = `  by_country:
    inputs: { o: { changes: orders }, s: { dimension: shops } }
    keys: { country: TEXT(2) }
    measures: { orders: { kind: count }, largest: { kind: max, type: BIGINT } }
    sql: >
      SELECT s.country AS country, 1 AS orders, o.cents AS largest, o._w AS _w
      FROM o JOIN s ON s.shop = o.shop
`;
/** Computed anew for the shops that a window touches; its rows come and go. */
const odd = (having: string): string => `  odd:
    class: affectedKeys
    inputs:
      o: { changes: orders }
      f: { changes: refunds, touched: SELECT o.shop FROM f JOIN o ON o.id = f.id }
    keys: { shop: BIGINT }
    measures: { orders: { kind: value, type: BIGINT }, refunded: { kind: value, type: BIGINT } }
    sql: >
      SELECT o.shop AS shop, COUNT(*) AS orders, COUNT(DISTINCT f.cents) AS refunded
      FROM o LEFT JOIN f ON f.id = o.id GROUP BY o.shop HAVING ${having}
`;
const ODD = odd('COUNT(*) % 2 = 1');
const EVEN = odd('COUNT(*) % 2 = 0');

const jobOf = (...reports: readonly string[]): string => `version: 1
job: shops
sources:
  shop:
    mysql: { url: { env: SHOP_URL } }
    tables: [{ table: orders }, { table: refunds }]
    window: { lengthMs: 150 }
stores:
  store: { mysql: { url: { env: STORE_URL } } }
databases:
  reports: { mysql: { url: { env: REPORTS_URL } } }
reports:
${reports.join('')}`;

interface ReportShown {
  readonly name: string;
  readonly reportId: string;
  readonly generation: string;
  readonly state: string;
  readonly mergedWindow: string;
  readonly holes: string;
}

describe.skipIf(mariadbMissing())('reports that change online', () => {
  const databases = new Map<string, FreshDatabase>();
  let server: Connection;
  let terminals: Terminals;
  let endpoint: string;
  let done = false;
  let business: Promise<void>;

  const rows = async (sql: string): Promise<RowDataPacket[]> => (await server.query<RowDataPacket[]>(sql))[0];
  const tidemark = (words: string): Promise<string> =>
    terminals.run(`${TIDEMARK} ${words} --endpoints ${endpoint}`);
  const executor = (id: string): string => `${TIDEMARK} executor start --name ${id} --endpoints ${endpoint}`;
  const patiently = (body: () => unknown): Promise<unknown> =>
    eventually(async () => await body(), { withinMs: 40_000, everyMs: 250, what: () => terminals.said() });

  const apply = async (...reports: readonly string[]): Promise<void> => {
    await writeFile(join(terminals.folder, 'job.yaml'), jobOf(...reports));
    await tidemark('apply -f job.yaml');
  };
  const report = async (name: string): Promise<ReportShown | undefined> => {
    const shown = JSON.parse(await tidemark('report list --output json')) as { reports: ReportShown[] };
    return shown.reports.find((one) => one.name === name && one.state !== 'dropping');
  };
  const tablesLike = async (id: string | undefined): Promise<string[]> => {
    const found = await rows(
      `SELECT TABLE_NAME AS name FROM information_schema.TABLES
       WHERE TABLE_SCHEMA = '${databases.get('REPORTS')?.name ?? ''}'
         AND TABLE_NAME REGEXP '^tm_[a-z_]+_${id ?? ''}_'`,
    );
    return found.map(({ name }) => name as string);
  };

  /** A report equals plain SQL over the source, both read in one snapshot that no transaction is half in. */
  const expectRight = async (name: string, plain: string): Promise<void> => {
    const view = `${databases.get('REPORTS')?.name ?? ''}.${name}`;
    expect(await rows(`SELECT * FROM ${view} ORDER BY 1, 2`)).toEqual(await rows(`${plain} ORDER BY 1, 2`));
  };
  /** While nothing is written, and after all of it has been merged. */
  const expectRightAtRest = async (truth: Readonly<Record<string, string>>): Promise<void> => {
    await rest();
    for (const [name, plain] of Object.entries(truth)) await patiently(() => expectRight(name, plain));
    begin();
  };
  const BY_SHOP_SQL = `SELECT shop, COUNT(*) AS orders, CAST(SUM(cents) AS SIGNED) AS revenue
    FROM orders GROUP BY shop`;
  const BY_SHOP_AGAIN_SQL = `SELECT o.shop, f.cents AS refund, COUNT(*) AS orders, MAX(o.cents) AS largest
    FROM orders o JOIN refunds f USING (id) GROUP BY o.shop, f.cents`;
  const BY_COUNTRY_SQL = `SELECT country, COUNT(*) AS orders, MAX(cents) AS largest
    FROM orders JOIN shops USING (shop) GROUP BY country`;
  const oddSql = (rest: number): string => `SELECT o.shop, COUNT(*) AS orders,
    COUNT(DISTINCT f.cents) AS refunded FROM orders o LEFT JOIN refunds f USING (id)
    GROUP BY o.shop HAVING COUNT(*) % 2 = ${rest}`;

  /** Orders come, grow, move and go, all the time. */
  let n = 0;
  const begin = (): void => {
    done = false;
    business = (async () => {
      while (!done) {
        n += 1;
        const sql = [
          `INSERT INTO orders VALUES (${1_000 + n}, ${(n * 7) % SHOPS}, ${n})`,
          `INSERT INTO refunds VALUES (${1_000 + n}, ${n % 3})`,
          `UPDATE orders SET shop = (shop + 1) % ${SHOPS}, cents = cents + 1 WHERE id = ${n % 200}`,
          `UPDATE refunds SET cents = (cents + 1) % 3 WHERE id = ${(n * 3) % 200}`,
          `DELETE FROM orders WHERE id = ${1_000 + n - 20}`,
        ];
        await server.query(`BEGIN; ${sql.join('; ')}; COMMIT`);
      }
    })();
  };
  const rest = async (): Promise<void> => {
    done = true;
    await business;
  };

  beforeAll(async () => {
    const environment: Record<string, string> = {};
    for (const role of ROLES) {
      const database = await freshDatabase(`online_${role.toLowerCase()}`);
      databases.set(role, database);
      environment[`${role}_URL`] = database.url;
    }
    server = await mysql.createConnection({ uri: environment['SHOP_URL'] ?? '', multipleStatements: true });
    const shops = Array.from({ length: SHOPS }, (_, shop) => `(${shop}, '${['DE', 'FR', 'NL'][shop % 3]}')`);
    const orders = Array.from({ length: 200 }, (_, id) => `(${id}, ${id % SHOPS}, ${id * 10})`);
    await server.query(`
      CREATE TABLE shops (shop BIGINT PRIMARY KEY, country CHAR(2) NOT NULL);
      CREATE TABLE orders (id BIGINT PRIMARY KEY, shop BIGINT NOT NULL, cents BIGINT NOT NULL);
      CREATE TABLE refunds (id BIGINT PRIMARY KEY, cents BIGINT NOT NULL);
      INSERT INTO shops VALUES ${shops.join()};
      INSERT INTO orders VALUES ${orders.join()};
      INSERT INTO refunds SELECT id, id % 3 FROM orders`);
    endpoint = await ask({ want: 'address' });
    terminals = await Terminals.inClone(environment);
    const peer = await ask({ want: 'address' });
    await terminals.open(
      `${TIDEMARK} coordinator start --data c1 --peer-listen ${peer} --client-listen ${endpoint}`,
    );
    await terminals.open(executor('e1'));
    await terminals.open(executor('e2'));
    await tidemark('cluster init');
    await eventually(() => apply(BY_SHOP), { withinMs: 20_000, everyMs: 500 });
    begin();
    await patiently(async () => {
      expect(Number((await report('by_shop'))?.mergedWindow)).toBeGreaterThan(2);
    });
  }, 90_000);

  afterAll(async () => {
    await rest();
    await terminals.close();
    await server.end();
    for (const database of databases.values()) await database.drop();
  });

  it(
    'one is added behind sealed windows, and computed from the row states',
    { timeout: 90_000 },
    async () => {
      await apply(BY_SHOP, BY_COUNTRY, ODD);
      await terminals.kill(executor('e1'));
      await patiently(async () => {
        for (const name of ['by_country', 'odd']) {
          expect(await report(name)).toMatchObject({ state: 'live', generation: '1', holes: '0' });
        }
      });
      await expectRightAtRest({ by_country: BY_COUNTRY_SQL, odd: oddSql(1) });
      await terminals.open(executor('e1'));
    },
  );

  it('one is redefined: the former is shown until the next has caught up', { timeout: 90_000 }, async () => {
    const before = [await report('by_shop'), await report('odd')];
    await apply(BY_SHOP_AGAIN, BY_COUNTRY, EVEN);
    await terminals.kill(executor('e2'));
    await patiently(async () => {
      const [view] = await rows(
        `SHOW COLUMNS FROM ${databases.get('REPORTS')?.name ?? ''}.by_shop LIKE 'refund'`,
      );
      expect(view).toBeDefined();
    });
    await expectRightAtRest({ by_shop: BY_SHOP_AGAIN_SQL, odd: oddSql(0) });
    for (const name of ['by_shop', 'odd']) {
      expect(await report(name)).toMatchObject({ state: 'live', generation: '2', holes: '0' });
    }
    await patiently(async () => {
      for (const former of before) expect(await tablesLike(former?.reportId)).toEqual([]);
    });
    await terminals.open(executor('e2'));
  });

  it('what is redefined again at once is never shown in between', { timeout: 90_000 }, async () => {
    await apply(BY_SHOP, BY_COUNTRY, EVEN);
    const between = await report('by_shop');
    await apply(BY_SHOP_AGAIN.replace('max', 'min'), BY_COUNTRY, EVEN);
    await apply(BY_SHOP, BY_COUNTRY, EVEN);
    await patiently(async () => {
      expect(await report('by_shop')).toMatchObject({ state: 'live', generation: '5' });
    });
    await expectRightAtRest({ by_shop: BY_SHOP_SQL });
    await patiently(async () => {
      expect(await tablesLike(between?.reportId)).toEqual([]);
    });
  });

  it('one that is paused stands still, and goes on where it stood', { timeout: 90_000 }, async () => {
    await apply(BY_SHOP, `${BY_COUNTRY}    paused: true\n`, `${EVEN}    paused: true\n`);
    await patiently(async () => {
      const other = await report('by_shop');
      for (const paused of [await report('by_country'), await report('odd')]) {
        expect(paused?.state).toBe('paused');
        expect(Number(other?.mergedWindow)).toBeGreaterThan(Number(paused?.mergedWindow) + 5);
      }
    });
    await apply(BY_SHOP, BY_COUNTRY, EVEN);
    await expectRightAtRest({ by_country: BY_COUNTRY_SQL, odd: oddSql(0) });
    expect(await report('by_country')).toMatchObject({ state: 'live', generation: '1', holes: '0' });
    expect(await report('odd')).toMatchObject({ state: 'live', generation: '2', holes: '0' });
  });

  it('one is removed with its view and tables, also while it is built', { timeout: 90_000 }, async () => {
    const gone = [await report('by_country'), await report('odd')];
    await apply(BY_SHOP_AGAIN);
    const building = await report('by_shop');
    await apply(BY_SHOP.replace('by_shop', 'other'));
    await terminals.kill(executor('e1'));
    await patiently(async () => {
      const names = `'by_shop', 'by_country', 'odd'`;
      const views = await rows(
        `SELECT TABLE_NAME FROM information_schema.VIEWS
         WHERE TABLE_SCHEMA = '${databases.get('REPORTS')?.name ?? ''}' AND TABLE_NAME IN (${names})`,
      );
      expect(views).toEqual([]);
      for (const one of [...gone, building]) expect(await tablesLike(one?.reportId)).toEqual([]);
      expect(await report('other')).toMatchObject({ state: 'live' });
    });
    await expectRightAtRest({ other: BY_SHOP_SQL });
    const known = await rows(
      `SELECT DISTINCT report_id FROM ${databases.get('REPORTS')?.name ?? ''}.tm_watermark`,
    );
    expect(known).toHaveLength(1);
  });

  it('a source is removed with its reports while another one begins', { timeout: 90_000 }, async () => {
    const former = await report('other');
    const job = jobOf(BY_SHOP.replace('by_shop', 'anew')).replace(
      '  shop:\n    mysql',
      '  again:\n    mysql',
    );
    await writeFile(join(terminals.folder, 'job.yaml'), job);
    expect(await tidemark('apply -f job.yaml --dry-run')).toMatch(/source +shop.* removed/);
    await tidemark('apply -f job.yaml');
    await patiently(async () => {
      const shown = JSON.parse(await tidemark('report list --output json')) as { reports: ReportShown[] };
      expect(shown.reports).toMatchObject([{ name: 'anew', state: 'live' }]);
      expect(await tablesLike(former?.reportId)).toEqual([]);
    });
    await expectRightAtRest({ anew: BY_SHOP_SQL });
  });
});
