/** The oracle of `npm run chaos` sees what it is there to see: planted mistakes, one at a time. */
import mysql, { type Connection } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';

interface Oracle {
  compareCells(urls: { source: string; reports: string }): Promise<{ cells: number; wrong: string[] }>;
  compareStates(input: object): Promise<{ rows: number; wrong: string[] }>;
}
interface Job {
  readonly SCHEMA: readonly string[];
  readonly TABLES: Readonly<Record<string, readonly string[]>>;
  readonly REPORTS: Readonly<Record<string, { readonly oracle: string }>>;
}

const script = async (name: string): Promise<unknown> =>
  import(new URL(`../../scripts/chaos/${name}`, import.meta.url).href);

const SOURCE_ID = 3n;
const OPEN = '9007199254740991';
const SALES = [
  "(1, 1, 1, 'new', 5, NULL), (2, 1, 1, 'new', 9, 3), (3, 2, 2, 'paid', 2, 7)",
  "(4, 2, 2, 'Paid', 4, NULL), (5, 3, 3, 'sent', 8, 1), (6, 3, 3, 'paid', 8, 1)",
].join(', ');
const PLANTED: readonly string[] = [
  "UPDATE shop_sales SET pieces = pieces + 1 WHERE shop = 1 AND state = 'new'",
  "UPDATE shop_sales SET discounted = 0 WHERE shop = 1 AND state = 'new'",
  "UPDATE shop_sales SET given = NULL WHERE shop = 2 AND state = 'paid'",
  "DELETE FROM shop_sales WHERE shop = 2 AND state = 'Paid'",
  "INSERT INTO shop_sales VALUES (9, 'new', 0, 0, 0, NULL)",
  'UPDATE item_extremes SET least = least - 1 WHERE item = 1',
  "UPDATE country_sales SET sales = sales - 1 WHERE country = 'de'",
  'UPDATE kind_value SET value = value + 1 WHERE kind = 1',
  'UPDATE odd_items SET pieces = pieces + 1 WHERE shop = 1 AND item = 1',
  'DELETE FROM odd_items WHERE shop = 2 AND item = 2',
  "UPDATE state_spread SET amounts = amounts + 1 WHERE state = 'paid'",
  "UPDATE state_spread SET spread = spread + 0.001 WHERE state = 'paid'",
  'UPDATE ballast_total SET total = total - 1 WHERE shop = 4',
];

describe.skipIf(mariadbMissing())('the oracle of chaos runs', () => {
  let oracle: Oracle;
  let job: Job;
  let source: FreshDatabase;
  let other: FreshDatabase;
  let connection: Connection;

  beforeAll(async () => {
    [oracle, job] = (await Promise.all([script('oracle.mjs'), script('job.mjs')])) as [Oracle, Job];
    [source, other] = await Promise.all([freshDatabase('oracle_source'), freshDatabase('oracle_other')]);
    connection = await mysql.createConnection(source.url);
    for (const statement of job.SCHEMA) await connection.query(statement);
    await connection.query("INSERT INTO shops VALUES (1, 'de'), (2, 'fr'), (3, 'de')");
    await connection.query('INSERT INTO items VALUES (1, 1, 1, 10), (2, 2, 1, 20), (3, 3, 2, 30)');
    await connection.query(`INSERT INTO sales VALUES ${SALES}`);
    await connection.query('INSERT INTO ballast VALUES (1, 4, 6), (2, 4, 7)');
  });

  afterAll(async () => {
    await connection.end();
    await Promise.all([source.drop(), other.drop()]);
  });

  it('sees every planted wrong cell', async () => {
    const urls = { source: source.url, reports: other.url };
    const remake = async (): Promise<void> => {
      for (const [name, report] of Object.entries(job.REPORTS)) {
        await connection.query(`CREATE OR REPLACE TABLE ${other.name}.${name} AS ${report.oracle}`);
      }
    };
    await remake();
    const right = await oracle.compareCells(urls);
    expect(right.wrong).toEqual([]);
    expect(right.cells).toBeGreaterThan(40);
    await connection.query(`USE ${other.name}`);
    for (const plant of PLANTED) {
      await connection.query(plant);
      expect((await oracle.compareCells(urls)).wrong.length, plant).toBeGreaterThan(0);
      await connection.query(`USE ${source.name}`);
      await remake();
      await connection.query(`USE ${other.name}`);
    }
    await connection.query(`USE ${source.name}`);
  });

  it('sees a row state that is missing, and one that should be closed', async () => {
    for (const table of Object.keys(job.TABLES)) {
      await connection.query(
        `CREATE OR REPLACE TABLE ${other.name}.tm_state_${SOURCE_ID}_${table}_v1 AS
         SELECT 1 AS _from, ${OPEN} AS _to, t.* FROM ${table} t`,
      );
    }
    const states = `${other.name}.tm_state_${SOURCE_ID}_sales_v1`;
    const compare = async (): Promise<readonly string[]> =>
      (await oracle.compareStates({ source: source.url, stores: [other.url], sourceId: SOURCE_ID })).wrong;
    expect(await compare()).toEqual([]);
    await connection.query(`UPDATE ${states} SET _to = 2 WHERE sale_id = 2`);
    expect(await compare()).toEqual([expect.stringContaining('sales 2')]);
    await connection.query(
      `INSERT INTO ${states} SELECT 1, ${OPEN}, s.* FROM sales s WHERE sale_id IN (1, 2)`,
    );
    expect(await compare()).toEqual([expect.stringContaining('sales 1')]);
  });
});
