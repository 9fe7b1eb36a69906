// The chaos run's own small business, its reports, and what each must show: plain SQL over the source's
// tables, written by hand beside the job's text (evidence rule 2).
import { stringify } from 'yaml';

export const SHOPS = 12;
const WINDOW_ROWS_MAX = 1_500;
/** Captured, with the columns that were there at the start. */
export const TABLES = {
  items: ['item_id', 'shop_id', 'kind', 'price'],
  sales: ['sale_id', 'shop_id', 'item_id', 'state', 'quantity', 'discount'],
  ballast: ['id', 'shop_id', 'v'],
};

export const SCHEMA = [
  `CREATE TABLE items (item_id BIGINT NOT NULL PRIMARY KEY, shop_id BIGINT NOT NULL, kind BIGINT NOT NULL,
    price BIGINT NOT NULL)`,
  `CREATE TABLE sales (sale_id BIGINT NOT NULL PRIMARY KEY, shop_id BIGINT NOT NULL, item_id BIGINT NOT NULL,
    state VARCHAR(8) COLLATE utf8mb4_bin NOT NULL, quantity BIGINT NOT NULL, discount BIGINT NULL)`,
  'CREATE TABLE shops (shop_id BIGINT NOT NULL PRIMARY KEY, country VARCHAR(2) NOT NULL)',
  'CREATE TABLE ballast (id BIGINT NOT NULL PRIMARY KEY, shop_id BIGINT NOT NULL, v BIGINT NOT NULL)',
];

const of = (kind) => (kind === 'count' ? { kind } : { kind, type: 'BIGINT' });
const SALES = { s: { changes: 'sales' } };

export const REPORTS = {
  shop_sales: {
    inputs: SALES,
    keys: { shop: 'BIGINT', state: 'TEXT(8)' },
    measures: { sales: of('count'), pieces: of('sum'), discounted: of('count'), given: of('sum') },
    sql: `SELECT s.shop_id AS shop, s.state AS state, 1 AS sales, s.quantity AS pieces,
      s.discount AS discounted, s.discount AS given, s._w AS _w FROM s`,
    oracle: `SELECT shop_id AS shop, state, COUNT(*) AS sales, SUM(quantity) AS pieces,
      COUNT(discount) AS discounted, SUM(discount) AS given FROM sales GROUP BY shop_id, state`,
  },
  item_extremes: {
    inputs: SALES,
    keys: { item: 'BIGINT' },
    measures: { least: of('min'), most: of('max') },
    sql: 'SELECT s.item_id AS item, s.quantity AS least, s.quantity AS most, s._w AS _w FROM s',
    oracle: `SELECT item_id AS item, MIN(quantity) AS least, MAX(quantity) AS most FROM sales
      GROUP BY item_id`,
  },
  country_sales: {
    inputs: { ...SALES, p: { dimension: 'shops' } },
    keys: { country: 'TEXT(2)' },
    measures: { sales: of('count'), pieces: of('sum') },
    sql: `SELECT p.country AS country, 1 AS sales, s.quantity AS pieces, s._w AS _w
      FROM s JOIN p ON p.shop_id = s.shop_id`,
    oracle: `SELECT country, COUNT(*) AS sales, SUM(quantity) AS pieces
      FROM sales, shops WHERE shops.shop_id = sales.shop_id GROUP BY country`,
  },
  kind_value: {
    inputs: { ...SALES, i: { changes: 'items' } },
    keys: { kind: 'BIGINT' },
    measures: { sales: of('count'), value: of('sum'), dearest: of('max') },
    sql: `SELECT i.kind AS kind, 1 AS sales, s.quantity * i.price AS value, i.price AS dearest,
      s._w * i._w AS _w FROM s JOIN i ON i.item_id = s.item_id AND i.shop_id = s.shop_id`,
    oracle: `SELECT kind, COUNT(*) AS sales, SUM(quantity * price) AS value, MAX(price) AS dearest
      FROM items, sales WHERE items.item_id = sales.item_id AND items.shop_id = sales.shop_id
      GROUP BY kind`,
  },
  state_spread: {
    inputs: SALES,
    keys: { state: 'TEXT(8)' },
    measures: { amounts: of('distinct'), discounts: of('distinct'), spread: of('variance') },
    sql: `SELECT s.state AS state, s.quantity AS amounts, s.discount AS discounts, s.quantity AS spread,
      s._w AS _w FROM s`,
    oracle: `SELECT state, COUNT(DISTINCT quantity) AS amounts, COUNT(DISTINCT discount) AS discounts,
      VAR_POP(quantity * 1e0) AS spread FROM sales GROUP BY state`,
  },
  odd_items: {
    class: 'affectedKeys',
    inputs: { i: { changes: 'items' }, ...SALES },
    keys: { shop: 'BIGINT', item: 'BIGINT' },
    measures: { sales: of('value'), pieces: of('value'), dearest: of('value') },
    sql: `SELECT i.shop_id AS shop, i.item_id AS item, COUNT(s.sale_id) AS sales, SUM(s.quantity) AS pieces,
      MAX(s.quantity * i.price) AS dearest FROM i LEFT JOIN s ON s.shop_id = i.shop_id
      AND s.item_id = i.item_id GROUP BY i.shop_id, i.item_id HAVING COUNT(s.sale_id) % 3 <> 1`,
    oracle: `SELECT i.shop_id AS shop, i.item_id AS item, COUNT(s.sale_id) AS sales,
      SUM(s.quantity) AS pieces, MAX(s.quantity * i.price) AS dearest
      FROM items AS i LEFT JOIN sales AS s ON s.shop_id = i.shop_id AND s.item_id = i.item_id
      GROUP BY i.shop_id, i.item_id HAVING COUNT(s.sale_id) % 3 <> 1`,
  },
  ballast_total: {
    inputs: { b: { changes: 'ballast' } },
    keys: { shop: 'BIGINT' },
    measures: { entries: of('count'), total: of('sum') },
    sql: 'SELECT b.shop_id AS shop, 1 AS entries, b.v AS total, b._w AS _w FROM b',
    oracle: 'SELECT shop_id AS shop, COUNT(*) AS entries, SUM(v) AS total FROM ballast GROUP BY shop_id',
  },
};

/** Added while the run goes on, and redefined from the one to the other and back. */
export const LATER_REPORTS = {
  later_items: [
    {
      inputs: SALES,
      keys: { item: 'BIGINT' },
      measures: { sales: of('count'), pieces: of('sum'), fewest: of('min') },
      sql: `SELECT s.item_id AS item, 1 AS sales, s.quantity AS pieces, s.quantity AS fewest, s._w AS _w
        FROM s`,
      oracle: `SELECT item_id AS item, COUNT(*) AS sales, SUM(quantity) AS pieces, MIN(quantity) AS fewest
        FROM sales GROUP BY item_id`,
    },
    {
      inputs: SALES,
      keys: { state: 'TEXT(8)', shop: 'BIGINT' },
      measures: { items: of('distinct'), given: of('sum') },
      sql: `SELECT s.state AS state, s.shop_id AS shop, s.item_id AS items, s.discount AS given, s._w AS _w
        FROM s WHERE s.quantity > 3`,
      oracle: `SELECT state, shop_id AS shop, COUNT(DISTINCT item_id) AS items, SUM(discount) AS given
        FROM sales WHERE quantity > 3 GROUP BY state, shop_id`,
    },
  ],
  later_kinds: [
    {
      inputs: { ...SALES, i: { changes: 'items' } },
      keys: { kind: 'BIGINT', state: 'TEXT(8)' },
      measures: { sales: of('count'), value: of('sum') },
      sql: `SELECT i.kind AS kind, s.state AS state, 1 AS sales, s.quantity * i.price AS value,
        s._w * i._w AS _w FROM s JOIN i ON i.item_id = s.item_id AND i.shop_id = s.shop_id`,
      oracle: `SELECT kind, state, COUNT(*) AS sales, SUM(quantity * price) AS value FROM items, sales
        WHERE items.item_id = sales.item_id AND items.shop_id = sales.shop_id GROUP BY kind, state`,
    },
    {
      inputs: { ...SALES, i: { state: 'items' }, p: { dimension: 'shops' } },
      keys: { country: 'TEXT(2)' },
      measures: { pieces: of('sum') },
      sql: `SELECT p.country AS country, s.quantity AS pieces, s._w AS _w
        FROM s JOIN i ON i.item_id = s.item_id AND i.shop_id = s.shop_id
        JOIN p ON p.shop_id = s.shop_id`,
      oracle: `SELECT country, SUM(quantity) AS pieces FROM sales, shops, items
        WHERE shops.shop_id = sales.shop_id AND items.item_id = sales.item_id
        AND items.shop_id = sales.shop_id GROUP BY country`,
    },
  ],
  later_shops: [
    {
      class: 'affectedKeys',
      inputs: SALES,
      keys: { shop: 'BIGINT', state: 'TEXT(8)' },
      measures: { sales: of('value'), typical: of('value') },
      sql: `SELECT shop_id AS shop, state, COUNT(*) AS sales, MIN(quantity) + MAX(quantity) AS typical FROM s
        GROUP BY shop_id, state HAVING COUNT(*) % 2 = 1`,
      oracle: `SELECT shop_id AS shop, state, COUNT(*) AS sales, MIN(quantity) + MAX(quantity) AS typical
        FROM sales GROUP BY shop_id, state HAVING COUNT(*) % 2 = 1`,
    },
    {
      inputs: SALES,
      keys: { shop: 'BIGINT' },
      measures: { sales: of('count'), most: of('max') },
      sql: 'SELECT s.shop_id AS shop, 1 AS sales, s.quantity AS most, s._w AS _w FROM s',
      oracle: 'SELECT shop_id AS shop, COUNT(*) AS sales, MAX(quantity) AS most FROM sales GROUP BY shop_id',
    },
  ],
};

const url = (name) => ({ mysql: { url: { env: name } } });

const withReplicas = ([primary, ...replicas]) => ({
  ...url(primary),
  replicas: replicas.map((name) => url(name)),
});

/**
 * @param stores names of the variables that hold the URLs of each group's servers, `databases` those of the
 * report database, `reports` their definitions by name
 */
export function jobTextOf({ stores, databases, windowMs, reports }) {
  return stringify({
    version: 1,
    job: 'chaos',
    sources: {
      shop: {
        ...url('CHAOS_SOURCE'),
        tables: Object.keys(TABLES).map((table) => ({ table, shardKey: 'shop_id' })),
        // Less than a large transaction has: its window is full, and goes on to the transaction's end.
        window: { lengthMs: windowMs, rowsMax: WINDOW_ROWS_MAX },
      },
    },
    stores: Object.fromEntries(stores.map((names, at) => [`shard${at + 1}`, withReplicas(names)])),
    databases: { reports: withReplicas(databases) },
    reports: Object.fromEntries(
      Object.entries(reports).map(([name, { oracle: _oracle, ...report }]) => [
        name,
        { source: 'shop', database: 'reports', ...report },
      ]),
    ),
  });
}
