/** A report of class affectedKeys from the command line on MariaDB, against plain SQL over its source. */
import type { RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { startShopCluster, type ShopCluster } from './shop-cluster.ts';

const TABLES = `
  CREATE TABLE customers (id BIGINT PRIMARY KEY);
  CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT NOT NULL, cents BIGINT);
  INSERT INTO customers SELECT seq FROM seq_1_to_9;
  INSERT INTO orders SELECT seq, 1 + seq % 12, seq * 7 % 50 FROM seq_1_to_30`;
const SELECT =
  'SELECT c.id AS customer, COUNT(o.id) AS orders, MAX(o.cents) AS largest ' +
  'FROM customers AS c LEFT JOIN orders AS o ON o.customer = c.id GROUP BY c.id HAVING COUNT(o.id) <> 1';
const JOB = `version: 1
job: shops
sources:
  shop: { mysql: { url: { env: SHOP_URL } }, tables: [customers, orders], window: { lengthMs: 200 } }
stores:
  store: { mysql: { url: { env: STORE_URL } } }
databases:
  reports: { mysql: { url: { env: REPORTS_URL } } }
reports:
  by_customer:
    class: affectedKeys
    inputs: { c: { changes: customers }, o: { changes: orders } }
    keys: { customer: BIGINT }
    measures: { orders: { kind: value, type: BIGINT }, largest: { kind: value, type: BIGINT } }
    sql: ${SELECT.replace('customers AS c', 'c').replace('orders AS o', 'o')}
`;

describe.skipIf(mariadbMissing())('a report of class affectedKeys by hand', () => {
  let cluster: ShopCluster;

  beforeAll(async () => {
    cluster = await startShopCluster('keys', TABLES, JOB);
  }, 120_000);

  afterAll(() => cluster.stop());

  const texts = (rows: readonly RowDataPacket[]): unknown =>
    rows.map((row) => Object.values(row).map(String));

  it('shows what its SELECT gives over the source', { timeout: 90_000 }, async () => {
    expect(await cluster.apply(JOB)).toContain('affectedKeys (its SQL is run again for the keys');
    const follow = async (): Promise<void> => {
      const [expected] = await cluster.shop.query<RowDataPacket[]>(`${SELECT} ORDER BY customer`);
      const shown = async (): Promise<unknown> => texts(await cluster.view('by_customer'));
      await eventually(async () => expect(await shown()).toEqual(texts(expected)), { withinMs: 30_000 });
    };
    await follow();
    for (const change of [
      'DELETE FROM orders WHERE customer = 3; UPDATE orders SET customer = 4 WHERE customer = 5',
      'DELETE FROM customers WHERE id = 4; INSERT INTO customers VALUES (40), (11)',
      'INSERT INTO orders VALUES (100, 40, 1), (101, 40, 2), (102, 3, NULL); DELETE FROM orders WHERE id < 5',
    ]) {
      await cluster.shop.query(change);
      await follow();
    }
  });
});
