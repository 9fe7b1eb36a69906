/**
 * Reports that cannot be right, from the command line on MariaDB: what `apply` refuses, and what a report
 * does whose data turns bad later. Each is told by a code with report, window and row; the others go on.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { startShopCluster, type ShopCluster } from './shop-cluster.ts';

const TABLES = `
  CREATE TABLE orders (
    id BIGINT PRIMARY KEY, shop VARCHAR(8), buyer VARCHAR(8),
    cents BIGINT NOT NULL, pieces BIGINT NOT NULL);
  INSERT INTO orders VALUES (1, 'a', 'x', 100, 2), (2, 'b', 'y', 60, 3);
  CREATE SEQUENCE numbers;
  CREATE FUNCTION next_number() RETURNS BIGINT DETERMINISTIC RETURN nextval(numbers)`;
const report = (name: string, type: string, value: string): string => `
  ${name}:
    inputs: { o: { changes: orders } }
    keys: { shop: TEXT(8) }
    measures: { value: { kind: sum, type: "${type}" } }
    sql: SELECT o.shop AS shop, ${value} AS value, o._w AS _w FROM o`;
const job = (...reports: readonly string[]): string => `version: 1
job: shops
sources:
  shop: { mysql: { url: { env: SHOP_URL } }, tables: [orders], window: { lengthMs: 200 } }
stores:
  store: { mysql: { url: { env: STORE_URL } } }
databases:
  reports: { mysql: { url: { env: REPORTS_URL } } }
reports:${reports.join('')}
`;
const GOOD = report('revenue', 'BIGINT', 'o.cents');
const OF_BUYERS = `
  of_buyers:
    class: affectedKeys
    inputs: { o: { changes: orders } }
    keys: { buyer: TEXT(8) }
    measures: { value: { kind: value, type: BIGINT } }
    sql: SELECT buyer, COUNT(*) AS value FROM o GROUP BY buyer`;
/** Each has a window that it cannot take, and is right again after it. */
const LATER_BAD = [
  OF_BUYERS,
  report('per_piece', 'DECIMAL(12,2)', 'o.cents / o.pieces'),
  report('small', 'DECIMAL(5,2)', 'o.cents'),
  report('huge', 'BIGINT', 'o.cents * 9000000000000000'),
  GOOD.replace('revenue', 'by_buyer')
    .replace('shop: TEXT', 'buyer: TEXT')
    .replace('o.shop AS shop', 'o.buyer AS buyer'),
];
const REFUSED: readonly (readonly [string, string, string])[] = [
  ['DELETE FROM o', 'SQL_WRITES', 'reports.wrong.sql: SQL line 1, column 1: DELETE'],
  ['SELECT shop FORM o', 'SQL_INVALID', 'wrong'],
  ['SELECT shop, cents AS value, , _w FROM o', 'SQL_INVALID', 'report wrong'],
  ['SELECT shop, cents AS val, _w FROM o', 'SQL_COLUMNS', 'report wrong does not return value'],
  ['SELECT shop, next_number() AS value, _w FROM o', 'SQL_WRITES', 'report wrong'],
];

interface Shown {
  readonly report: string;
  readonly state: string;
  readonly reason: string;
  readonly firstWindow: string;
}

describe.skipIf(mariadbMissing())('bad reports by hand', () => {
  let cluster: ShopCluster;

  beforeAll(async () => {
    cluster = await startShopCluster('bad', TABLES, job(GOOD));
  }, 120_000);

  afterAll(() => cluster.stop());

  it('are refused with a code that names them, and nothing is declared', { timeout: 60_000 }, async () => {
    for (const [sql, code, message] of REFUSED) {
      const wrong = report('wrong', 'BIGINT', '0').replace(/sql: .*/, `sql: "${sql}"`);
      const said = await cluster.apply(job(GOOD, wrong)).then(String, String);
      expect(said).toContain(code);
      expect(said).toContain(message);
    }
    expect(JSON.parse(await cluster.tidemark('report list --output json'))).toMatchObject({ reports: [] });
  });

  it('that turn bad later leave a hole that says why; the others go on', { timeout: 60_000 }, async () => {
    const said = await cluster.apply(job(GOOD, ...LATER_BAD));
    expect(said).toMatch(
      /report +revenue +1 +created +contribution \(a result row comes from one change row of o\); one part/,
    );
    const rightAtFirst = async (): Promise<void> => {
      expect(await cluster.view('revenue')).toEqual([
        { shop: 'a', value: 100 },
        { shop: 'b', value: 60 },
      ]);
      for (const name of ['per_piece', 'small', 'huge', 'by_buyer', 'of_buyers'])
        expect(await cluster.view(name)).toHaveLength(2);
    };
    await eventually(rightAtFirst, { withinMs: 20_000, everyMs: 200, what: () => cluster.terminals.said() });

    // One transaction, one window: a good row beside one that all but the good report cannot take.
    await cluster.shop.query("INSERT INTO orders VALUES (3, 'a', 'x', 1, 1), (4, 'b', NULL, 100000, 0)");
    const dead = async (): Promise<Shown[]> => {
      const { tasks } = JSON.parse(await cluster.tidemark('task list --state DEAD --output json')) as {
        tasks: Shown[];
      };
      expect(tasks).toHaveLength(5);
      return tasks;
    };
    const tasks = await eventually(dead, {
      withinMs: 20_000,
      everyMs: 300,
      what: () => cluster.terminals.said(),
    });
    const window = tasks[0]?.firstWindow ?? '';
    const place = (name: string): string => `report ${name}, window ${window}: `;
    const reasons = new Map(tasks.map((task) => [task.report, task.reason]));
    expect(reasons.get('per_piece')).toMatch(`DIVISION_BY_ZERO: ${place('per_piece')}`);
    expect(reasons.get('small')).toMatch(`VALUE_RANGE: ${place('small')}`);
    expect(reasons.get('huge')).toMatch(`VALUE_RANGE: ${place('huge')}`);
    for (const name of ['by_buyer', 'of_buyers']) {
      const reason = `KEY_NULL: ${place(name)}key buyer is NULL, in the row of buyer = NULL`;
      expect(reasons.get(name)).toBe(reason);
    }

    await cluster.shop.query("INSERT INTO orders VALUES (5, 'a', 'x', 10, 1)");
    const goneOn = async (): Promise<void> => {
      expect(await cluster.view('revenue')).toEqual([
        { shop: 'a', value: 111 },
        { shop: 'b', value: 100_060 },
      ]);
      // Nothing of the window with the bad row is there, not even its good row; what came after it is.
      expect(await cluster.view('per_piece')).toEqual([
        { shop: 'a', value: '60.00' },
        { shop: 'b', value: '20.00' },
      ]);
      expect(await cluster.view('by_buyer')).toEqual([
        { buyer: 'x', value: 110 },
        { buyer: 'y', value: 60 },
      ]);
      // A cell is computed anew: it has the rows of the hole as soon as its key is touched again.
      expect(await cluster.view('of_buyers')).toEqual([
        { buyer: 'x', value: 3 },
        { buyer: 'y', value: 1 },
      ]);
    };
    await eventually(goneOn, { withinMs: 20_000, everyMs: 200, what: () => cluster.terminals.said() });
  });

  it('that read a dropped column stop and say so; the others go on', { timeout: 60_000 }, async () => {
    const before = await cluster.view('by_buyer');
    await cluster.shop.query('ALTER TABLE orders DROP COLUMN buyer, MODIFY pieces INT NOT NULL');
    await cluster.shop.query("INSERT INTO orders VALUES (6, 'c', 7, 1)");
    const lists = async (what: 'source' | 'report'): Promise<Record<string, unknown>[]> => {
      const shown = await cluster.tidemark(`${what} list --output json`);
      return (JSON.parse(shown) as Record<string, Record<string, unknown>[]>)[`${what}s`] ?? [];
    };
    const stopped = async (): Promise<void> => {
      expect(await cluster.view('revenue')).toContainEqual({ shop: 'c', value: 7 });
      const reports = new Map((await lists('report')).map((one) => [one['name'], one]));
      for (const [name, column, why] of [
        ['by_buyer', 'buyer', 'it is gone'],
        ['per_piece', 'pieces', 'it was bigint(20), it is int(11)'],
      ]) {
        const reason =
          `REPORT_COLUMN_CHANGED: report ${name} stops before window N: ` + `column orders.${column}: ${why}`;
        const problem = String(reports.get(name)?.['problem']).replace(/window \d+/, 'window N');
        expect([reports.get(name)?.['state'], problem]).toEqual(['stopped', reason]);
      }
      for (const name of ['revenue', 'small', 'huge']) {
        expect(reports.get(name)).toMatchObject({ state: 'live', problem: '' });
      }
    };
    await eventually(stopped, { withinMs: 20_000, everyMs: 200, what: () => cluster.terminals.said() });
    expect(await cluster.view('by_buyer')).toEqual(before);
    expect(await lists('source')).toMatchObject([
      { state: 'running', tables: [{ table: 'orders', schemaVersion: 2 }] },
    ]);
  });
});
