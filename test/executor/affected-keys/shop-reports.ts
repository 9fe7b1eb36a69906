/**
 * Reports of class `affectedKeys` over a small shop, each with the tables that its SQL reads in the source.
 */
import { must } from '../../../src/base/index.ts';
import { compileJob, parseJobFile, type CapturedTable, type CompiledReport } from '../../../src/job/index.ts';
import type { EngineKind } from '../../../src/sql/index.ts';

/** Captured tables of the shop; with two shards a customer's rows lie on one of them. */
export const TABLES: readonly CapturedTable[] = [
  {
    table: 'customers',
    schemaVersion: 1,
    columns: [
      { name: 'id', type: 'BIGINT', nullable: false },
      { name: 'region', type: 'TEXT(4)', nullable: false },
    ],
    primaryKey: ['id'],
    shardKey: 'id',
  },
  {
    table: 'orders',
    schemaVersion: 1,
    columns: [
      { name: 'id', type: 'BIGINT', nullable: false },
      { name: 'customer', type: 'BIGINT', nullable: false },
      { name: 'cents', type: 'BIGINT', nullable: true },
    ],
    primaryKey: ['id'],
    shardKey: 'customer',
  },
  {
    table: 'targets',
    schemaVersion: 1,
    columns: [
      { name: 'region', type: 'TEXT(4)', nullable: false },
      { name: 'cents', type: 'BIGINT', nullable: false },
    ],
    primaryKey: ['region'],
    shardKey: null,
  },
];

interface ShopReport {
  readonly inputs: Readonly<Record<string, object>>;
  readonly keys: Readonly<Record<string, string>>;
  readonly measures: Readonly<Record<string, string>>;
  readonly sql: string;
}

export const REPORTS: Readonly<Record<string, ShopReport>> = {
  having: {
    inputs: { o: { changes: 'orders' } },
    keys: { customer: 'BIGINT' },
    measures: { orders: 'BIGINT', cents: 'BIGINT', largest: 'BIGINT' },
    sql:
      'SELECT customer, COUNT(*) AS orders, SUM(cents) AS cents, MAX(cents) AS largest FROM o ' +
      'GROUP BY customer HAVING COUNT(*) > 1',
  },
  outer: {
    inputs: { c: { changes: 'customers' }, o: { changes: 'orders' } },
    keys: { customer: 'BIGINT' },
    measures: { region: 'TEXT(4)', orders: 'BIGINT', cents: 'BIGINT' },
    sql:
      'SELECT c.id AS customer, c.region AS region, COUNT(o.id) AS orders, SUM(o.cents) AS cents ' +
      'FROM c LEFT JOIN o ON o.customer = c.id AND o.cents > 10 GROUP BY c.id, c.region',
  },
  distinct: {
    inputs: { o: { changes: 'orders' }, c: { changes: 'customers' } },
    keys: { region: 'TEXT(4)' },
    measures: { buyers: 'BIGINT', cents: 'BIGINT' },
    sql:
      'SELECT c.region, COUNT(DISTINCT o.customer) AS buyers, SUM(o.cents) AS cents ' +
      'FROM o JOIN c ON c.id = o.customer GROUP BY c.region',
  },
  ranked: {
    inputs: {
      o: {
        changes: 'orders',
        touched: 'SELECT n.id AS id FROM o JOIN n ON n.customer = o.customer UNION SELECT id FROM o',
      },
      n: { changes: 'orders' },
    },
    keys: { id: 'BIGINT' },
    measures: { place: 'BIGINT', of_customer: 'BIGINT' },
    sql:
      'SELECT id, ROW_NUMBER() OVER (PARTITION BY customer ORDER BY cents DESC, id) AS place, ' +
      'COUNT(*) OVER (PARTITION BY customer) AS of_customer FROM o',
  },
  best: {
    inputs: {
      o: { changes: 'orders', touched: 'SELECT c.region FROM o JOIN c ON c.id = o.customer' },
      c: { changes: 'customers', touched: 'SELECT region FROM c' },
    },
    keys: { region: 'TEXT(4)' },
    measures: { most: 'BIGINT', idle: 'BIGINT' },
    sql:
      'WITH t AS (SELECT c.id, c.region, SUM(o.cents) AS cents FROM c LEFT JOIN o ON o.customer = c.id ' +
      'GROUP BY c.id, c.region) ' +
      'SELECT region, MAX(cents) AS most, SUM(CASE WHEN cents IS NULL THEN 1 ELSE 0 END) AS idle ' +
      'FROM t GROUP BY region',
  },
  several: {
    inputs: { c: { changes: 'customers' } },
    keys: { region: 'TEXT(4)' },
    measures: { customers: 'BIGINT', newest: 'BIGINT' },
    sql: 'SELECT region, COUNT(*) AS customers, MAX(id) AS newest FROM c GROUP BY region HAVING COUNT(*) > 1',
  },
  goals: {
    inputs: {
      t: { changes: 'targets', touched: 'SELECT region FROM t' },
      c: { changes: 'customers', touched: 'SELECT region FROM c' },
      o: { changes: 'orders', touched: 'SELECT c.region FROM o JOIN c ON c.id = o.customer' },
    },
    keys: { region: 'TEXT(4)' },
    measures: { goal: 'BIGINT', sold: 'BIGINT' },
    sql:
      'SELECT t.region, MAX(t.cents) AS goal, SUM(o.cents) AS sold FROM t ' +
      'LEFT JOIN c ON c.region = t.region LEFT JOIN o ON o.customer = c.id GROUP BY t.region',
  },
};

/** The report as `apply` makes it, out of a job file. */
export function compiled(name: string, kind: EngineKind, shards: number): CompiledReport {
  const { inputs, keys, measures, sql } = must(REPORTS[name], name);
  const database = (of: string): object =>
    kind === 'mysql' ? { mysql: { url: { env: of.toUpperCase() } } } : { embedded: { file: `${of}.db` } };
  const stores = Array.from({ length: shards }, (_none, at) => [`s${at}`, database(`s${at}`)] as const);
  const file = parseJobFile(
    JSON.stringify({
      version: 1,
      job: 'shop',
      sources: {
        shop: {
          ...database('shop'),
          tables: [
            'customers',
            { table: 'orders', shardKey: 'customer' },
            { table: 'targets', replicated: true },
          ],
        },
      },
      stores: Object.fromEntries(stores),
      databases: { reports: database('reports') },
      reports: {
        [name]: {
          class: 'affectedKeys',
          inputs,
          keys,
          measures: Object.fromEntries(
            Object.entries(measures).map(([measure, type]) => [measure, { kind: 'value', type }]),
          ),
          sql,
        },
      },
    }),
  );
  const job = compileJob({ file, tablesOf: () => TABLES });
  return must(job.reports[0], 'the report');
}

/** The same over the tables of the source, as anybody would ask for it. */
export function plainSql(name: string, tables: Readonly<Record<string, string>>): string {
  const { inputs, sql } = must(REPORTS[name], name);
  const views = Object.entries(inputs as Record<string, { changes: string }>).map(
    ([alias, { changes }]) => `${alias} AS (SELECT * FROM ${must(tables[changes], changes)})`,
  );
  return sql.startsWith('WITH ')
    ? `WITH ${views.join(', ')}, ${sql.slice('WITH '.length)}`
    : `WITH ${views.join(', ')} ${sql}`;
}
