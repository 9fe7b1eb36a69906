/**
 * A report whose SQL is too slow for one window, through a real cluster on MariaDB: the window becomes a hole
 * that says why, other windows and other reports go on, and the report is right again once it is redefined.
 */
import { afterEach, describe, expect, it } from 'vitest';
import type { TidemarkClient } from '../../src/client/index.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';
import { TestCluster } from './cluster-harness.ts';
import { listsAsText } from './lists-as-text.ts';
import { twoExecutors } from './two-executors.ts';

/** The tries of a task, the longer ones included, take about 3 s. */
const SCHEDULER = { taskDeadlineMs: 700, slowAttemptsMax: 3, parkBaseMs: 100 };

const EACH = 'SELECT o.shop AS shop, o.cents AS cents, o._w AS _w FROM o';
/** For each order above 1,000 it looks for three of 1,500 numbers whose sum is none that there is. */
const SLOWLY = `${EACH} UNION ALL
      SELECT o.shop, o.cents, o._w FROM o STRAIGHT_JOIN n AS a STRAIGHT_JOIN n AS b STRAIGHT_JOIN n AS c
      WHERE o.cents > 1000 AND a.n + b.n + c.n = 0 - o.cents`;

const reportOf = (name: string, sql: string): string => `
  ${name}:
    inputs: { o: { changes: orders }, n: { dimension: numbers } }
    keys: { shop: BIGINT }
    measures: { cents: { kind: sum, type: BIGINT } }
    sql: |
      ${sql}`;
const jobOf = (slow: string): string => `version: 1
job: shops
sources: { shop: { mysql: { url: { env: SHOP } }, tables: [orders], window: { lengthMs: 100 } } }
stores: { main: { mysql: { url: { env: STORE } } } }
databases: { out: { mysql: { url: { env: OUT } } } }
reports:${reportOf('quick', EACH.replace('FROM o', 'FROM o JOIN n ON n.n = 1'))}${reportOf('slow', slow)}
`;

describe.skipIf(mariadbMissing())('a report that is too slow', () => {
  const ends: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function started(): Promise<{ client: TidemarkClient; shop: SqlEngine; out: SqlEngine }> {
    const engines: SqlEngine[] = [];
    const env: Record<string, string> = {};
    for (const name of ['SHOP', 'STORE', 'OUT']) {
      const fresh = await freshDatabase(`slow_${name.toLowerCase()}`);
      const engine = openEngine({ kind: 'mysql', url: fresh.url });
      ends.push(fresh.drop, () => engine.close());
      env[name] = fresh.url;
      engines.push(engine);
    }
    const [shop, , out] = engines;
    if (shop === undefined || out === undefined) throw new Error('no engines');
    await shop.use('test', async (connection) => {
      await connection.query('CREATE TABLE orders (id BIGINT PRIMARY KEY, shop BIGINT, cents BIGINT)');
      await connection.query('CREATE TABLE numbers (n BIGINT PRIMARY KEY)');
      await connection.query('INSERT INTO numbers SELECT seq FROM seq_1_to_1500');
      await connection.query('INSERT INTO orders VALUES (1, 1, 100)');
    });
    const cluster = await TestCluster.formed(1, undefined, SCHEDULER);
    ends.push(() => cluster.stop());
    const executors = await twoExecutors(cluster, env);
    ends.push(() => Promise.all(executors.map((executor) => executor.stop())));
    return { client: cluster.client(), shop, out };
  }

  it('leaves a hole that names it, and nothing else of it is wrong', { timeout: 60_000 }, async () => {
    const { client, shop, out } = await started();
    const order = (values: string) =>
      shop.use('test', (connection) => connection.query(`INSERT INTO orders VALUES ${values}`));
    const shows = async (report: string, cents: bigint): Promise<void> => {
      const isRight = eventually(
        async () => {
          const { rows } = await out.use('test', (connection) => connection.query(`SELECT * FROM ${report}`));
          expect(rows.map((row) => row.map(String))).toEqual([['1', String(cents)]]);
        },
        { withinMs: 20_000, everyMs: 50, what: `${report} to be right` },
      );
      await isRight.catch(async (cause: unknown) => {
        throw new Error(`${String(cause)}\n${await listsAsText(client)}`, { cause });
      });
    };
    await client.apply(jobOf(SLOWLY));
    await shows('quick', 100n);
    await shows('slow', 100n);

    await order('(2, 1, 5000)');
    await shows('quick', 5_100n);
    await order('(3, 1, 7)');
    await shows('quick', 5_107n);
    const dead = await eventually(
      async () => {
        const [task, ...others] = await client.listTasks({ state: 'DEAD' });
        expect(others).toEqual([]);
        expect(task?.reason).toMatch(/^SQL_TOO_SLOW: report slow, window/);
        return task;
      },
      { withinMs: 30_000, everyMs: 50, what: 'the hole' },
    );
    expect(dead?.report).toBe('slow');
    // Not even the first branch's row of that window is there; the window after it is.
    await shows('slow', 107n);

    await client.apply(jobOf(EACH.replace('FROM o', 'FROM o JOIN n ON n.n = 2')));
    await shows('slow', 5_107n);
    await shows('quick', 5_107n);
  });
});
