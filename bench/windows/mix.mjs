// The fixed mix of reports: per 20 of them 12 grouped on one table (half of those with 2,000 keys or more), 5
// with a dimension, 2 joins of two changing inputs, 1 with min, max and distinct. Each also says what it must
// show, as plain SQL over the source's own tables, written by hand beside the job's text.

export const CUSTOMERS = 5_000;
export const SHOPS = 200;

export const SCHEMA = [
  `CREATE TABLE orders (order_id BIGINT NOT NULL PRIMARY KEY, shop_id INT NOT NULL, customer_id INT NOT NULL,
    status INT NOT NULL, amount BIGINT NOT NULL, tip BIGINT NULL, created_ms BIGINT NOT NULL,
    note VARCHAR(40) NOT NULL)`,
  `CREATE TABLE payments (payment_id BIGINT NOT NULL PRIMARY KEY, order_id BIGINT NOT NULL,
    shop_id INT NOT NULL, method INT NOT NULL, paid BIGINT NOT NULL)`,
  `CREATE TABLE shops (shop_id INT NOT NULL PRIMARY KEY, country VARCHAR(2) NOT NULL, tier INT NOT NULL)`,
];

export function shopRows() {
  const countries = ['de', 'fr', 'us', 'jp', 'br'];
  return Array.from({ length: SHOPS }, (_, n) => [n + 1, countries[n % 5], n % 4]);
}

const bigint = (kind) => ({ kind, type: 'BIGINT' });
const SALES = { orders: { kind: 'count' }, revenue: bigint('sum'), average: bigint('avg') };
const ORDERS = { o: { changes: 'orders' } };

/** Reports of one table. `variant` makes each of a kind another report, with other groups. */
function grouped(variant, many) {
  const key = many ? `o.customer_id + ${variant} * 10000` : `(o.shop_id + ${variant}) % ${20 + variant}`;
  return {
    inputs: ORDERS,
    keys: { k: 'BIGINT', status: 'BIGINT' },
    measures: SALES,
    sql: `SELECT ${key} AS k, ${many ? '0' : 'o.status'} AS status, 1 AS orders, o.amount AS revenue,
      o.tip AS average, o._w AS _w FROM o WHERE o.amount > ${variant}`,
    oracle: `SELECT ${key} AS k, ${many ? '0' : 'o.status'} AS status, COUNT(*) AS orders,
      SUM(o.amount) AS revenue, SUM(o.tip) / COUNT(o.tip) AS average FROM orders o
      WHERE o.amount > ${variant} GROUP BY 1, 2`,
  };
}

function withDimension(variant) {
  const hour = `o.created_ms - o.created_ms % ${60_000 * (variant + 1)}`;
  return {
    inputs: { ...ORDERS, s: { dimension: 'shops' } },
    keys: { country: 'TEXT(2)', since_ms: 'BIGINT' },
    measures: SALES,
    sql: `SELECT s.country AS country, ${hour} AS since_ms, 1 AS orders, o.amount * (s.tier + 1) AS revenue,
      o.tip AS average, o._w AS _w FROM o JOIN s ON s.shop_id = o.shop_id`,
    oracle: `SELECT s.country AS country, ${hour} AS since_ms, COUNT(*) AS orders,
      SUM(o.amount * (s.tier + 1)) AS revenue, SUM(o.tip) / COUNT(o.tip) AS average
      FROM orders o JOIN shops s ON s.shop_id = o.shop_id GROUP BY 1, 2`,
  };
}

function joined(variant) {
  return {
    inputs: { ...ORDERS, p: { changes: 'payments' } },
    keys: { shop_id: 'BIGINT', method: 'BIGINT' },
    measures: { payments: { kind: 'count' }, paid: bigint('sum'), ordered: bigint('sum') },
    sql: `SELECT o.shop_id AS shop_id, p.method + ${variant} AS method, 1 AS payments, p.paid AS paid,
      o.amount AS ordered, o._w * p._w AS _w
      FROM o JOIN p ON p.shop_id = o.shop_id AND p.order_id = o.order_id`,
    oracle: `SELECT o.shop_id AS shop_id, p.method + ${variant} AS method, COUNT(*) AS payments,
      SUM(p.paid) AS paid, SUM(o.amount) AS ordered
      FROM orders o JOIN payments p ON p.order_id = o.order_id GROUP BY 1, 2`,
  };
}

function multisets(variant, distinct) {
  const measures = { least: bigint('min'), greatest: bigint('max') };
  const shop = `o.shop_id + ${variant} * 1000`;
  return {
    inputs: ORDERS,
    keys: { shop: 'BIGINT' },
    measures: distinct ? { ...measures, buyers: bigint('distinct') } : measures,
    sql: `SELECT ${shop} AS shop, o.amount AS least, o.amount AS greatest,
      ${distinct ? 'o.customer_id AS buyers,' : ''} o._w AS _w FROM o`,
    oracle: `SELECT ${shop} AS shop, MIN(o.amount) AS least, MAX(o.amount) AS greatest
      ${distinct ? ', COUNT(DISTINCT o.customer_id) AS buyers' : ''} FROM orders o GROUP BY 1`,
  };
}

/** `count` reports in the mix's proportions. `joins: false` puts grouped ones in the joins' place. */
export function reportMix(count, { joins = true, distinct = true } = {}) {
  const reports = {};
  for (let n = 0; n < count; n += 1) {
    const variant = Math.floor(n / 20);
    const place = n % 20;
    reports[`r${n}`] =
      place < 12
        ? grouped(n, place % 2 === 0)
        : place < 17
          ? withDimension(n)
          : place < 19
            ? joins
              ? joined(n)
              : grouped(n, true)
            : multisets(variant, distinct);
  }
  return reports;
}

/** The job file; databases are named by environment variables. */
export function jobOf(reports, { windowMs, tables }) {
  const url = (name) => ({ mysql: { url: { env: name } } });
  return {
    version: 1,
    job: 'bench',
    sources: {
      shop: {
        ...url('BENCH_SOURCE'),
        tables: tables.map((table) => ({ table, shardKey: 'shop_id' })),
        window: { lengthMs: windowMs },
      },
    },
    stores: { shard1: url('BENCH_STORE') },
    databases: { reports: url('BENCH_REPORTS') },
    reports: Object.fromEntries(
      Object.entries(reports).map(([name, { oracle: _oracle, ...report }]) => [
        name,
        { source: 'shop', database: 'reports', ...report },
      ]),
    ),
  };
}
