// The chaos run's own small business, its reports, and what each must show: plain SQL over the source's
// tables, written by hand beside the job's text (evidence rule 2).

export const SHOPS = 12;
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
  ballast_total: {
    inputs: { b: { changes: 'ballast' } },
    keys: { shop: 'BIGINT' },
    measures: { entries: of('count'), total: of('sum') },
    sql: 'SELECT b.shop_id AS shop, 1 AS entries, b.v AS total, b._w AS _w FROM b',
    oracle: 'SELECT shop_id AS shop, COUNT(*) AS entries, SUM(v) AS total FROM ballast GROUP BY shop_id',
  },
};

const url = (name) => ({ mysql: { url: { env: name } } });

const withReplicas = ([primary, ...replicas]) => ({
  ...url(primary),
  replicas: replicas.map((name) => url(name)),
});

/** @param groups of the store and of the reports: names of the variables that hold their servers' URLs */
export function jobOf({ stores, reports, windowMs }) {
  return {
    version: 1,
    job: 'chaos',
    sources: {
      shop: {
        ...url('CHAOS_SOURCE'),
        tables: Object.keys(TABLES).map((table) => ({ table, shardKey: 'shop_id' })),
        window: { lengthMs: windowMs },
      },
    },
    stores: Object.fromEntries(stores.map((names, at) => [`shard${at + 1}`, withReplicas(names)])),
    databases: { reports: withReplicas(reports) },
    reports: Object.fromEntries(
      Object.entries(REPORTS).map(([name, { oracle: _oracle, ...report }]) => [
        name,
        { source: 'shop', database: 'reports', ...report },
      ]),
    ),
  };
}
