/** A report of class affectedKeys from the command line on MariaDB, against plain SQL over its source. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Terminals } from '../docs/terminals.ts';
import { ask } from '../support/broker.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';

const TIDEMARK = 'node dist/cli/main.js';
const ROLES = ['SHOP', 'STORE', 'REPORTS'] as const;
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
  const databases: FreshDatabase[] = [];
  let server: Connection;
  let terminals: Terminals;
  let endpoint: string;

  beforeAll(async () => {
    const environment: Record<string, string> = {};
    for (const role of ROLES) {
      const database = await freshDatabase(`keys_${role.toLowerCase()}`);
      databases.push(database);
      environment[`${role}_URL`] = database.url;
    }
    server = await mysql.createConnection({ uri: environment['SHOP_URL'] ?? '', multipleStatements: true });
    await server.query(`
      CREATE TABLE customers (id BIGINT PRIMARY KEY);
      CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT NOT NULL, cents BIGINT);
      INSERT INTO customers SELECT seq FROM seq_1_to_9;
      INSERT INTO orders SELECT seq, 1 + seq % 12, seq * 7 % 50 FROM seq_1_to_30`);
    endpoint = await ask({ want: 'address' });
    terminals = await Terminals.inClone(environment);
    const peer = await ask({ want: 'address' });
    await terminals.open(
      `${TIDEMARK} coordinator start --data c1 --peer-listen ${peer} --client-listen ${endpoint}`,
    );
    await terminals.open(`${TIDEMARK} executor start --name e1 --endpoints ${endpoint}`);
    await tidemark('cluster init');
    await writeFile(join(terminals.folder, 'job.yaml'), JOB);
    await eventually(() => tidemark('apply -f job.yaml --dry-run'), { withinMs: 20_000, everyMs: 300 });
  }, 120_000);

  afterAll(async () => {
    await terminals.close();
    await server.end();
    for (const database of databases) await database.drop();
  });

  const tidemark = (words: string): Promise<string> =>
    terminals.run(`${TIDEMARK} ${words} --endpoints ${endpoint}`);

  async function shown(sql: string): Promise<unknown> {
    const [rows] = await server.query<RowDataPacket[]>(sql);
    return rows.map((row) => Object.values(row).map(String));
  }

  const view = (): Promise<unknown> =>
    shown(`SELECT * FROM ${databases[2]?.name ?? ''}.by_customer ORDER BY customer`);

  it('shows what its SELECT gives over the source', { timeout: 90_000 }, async () => {
    expect(await tidemark('apply -f job.yaml')).toContain('affectedKeys (its SQL is run again for the keys');
    const follow = async (): Promise<void> => {
      const expected = await shown(`${SELECT} ORDER BY customer`);
      await eventually(async () => expect(await view()).toEqual(expected), { withinMs: 30_000 });
    };
    await follow();
    for (const change of [
      'DELETE FROM orders WHERE customer = 3; UPDATE orders SET customer = 4 WHERE customer = 5',
      'DELETE FROM customers WHERE id = 4; INSERT INTO customers VALUES (40), (11)',
      'INSERT INTO orders VALUES (100, 40, 1), (101, 40, 2), (102, 3, NULL); DELETE FROM orders WHERE id < 5',
    ]) {
      await server.query(change);
      await follow();
    }
  });
});
