/**
 * The sample's reports, as they stand in the job file. Their SQL keeps to what MariaDB, MySQL and SQLite
 * all understand: CASE, COALESCE, CAST(x AS SIGNED), %, inner joins, common table expressions, UNION ALL.
 */
import { MERCHANT_STATEMENT_SQL } from './merchant-statement.ts';

export interface SampleReport {
  readonly name: string;
  readonly inputs: Readonly<Record<string, { readonly changes: string } | { readonly dimension: string }>>;
  /** Column name to declared type. */
  readonly keys: Readonly<Record<string, string>>;
  /** Column name to kind and type of the value. */
  readonly measures: Readonly<Record<string, { readonly kind: MeasureKind; readonly type: string }>>;
  readonly sql: string;
}

export type MeasureKind = 'count' | 'sum' | 'avg' | 'variance' | 'min' | 'max' | 'distinct';

const of = (kind: MeasureKind): { kind: MeasureKind; type: string } => ({ kind, type: 'BIGINT' });

const MERCHANT = { dimension: 'merchants' };
const PRODUCT = { dimension: 'products' };

export const SAMPLE_REPORTS: readonly SampleReport[] = [
  {
    name: 'merchant_day_sales',
    inputs: { o: { changes: 'orders' }, m: MERCHANT },
    keys: { merchant_id: 'BIGINT', business_day: 'BIGINT' },
    measures: {
      orders: of('count'),
      revenue: of('sum'),
      average_order: of('avg'),
      smallest_order: of('min'),
      largest_order: of('max'),
    },
    sql: `WITH placed AS (
  SELECT o.merchant_id, o.amount, o._w,
         o.created_ms + (m.utc_offset_minutes - m.day_start_minutes) * 60000 AS shifted_ms
  FROM o JOIN m ON m.merchant_id = o.merchant_id
  WHERE o.status <> 'cancelled'
)
SELECT merchant_id,
       CAST((shifted_ms - shifted_ms % 86400000) / 86400000 AS SIGNED) AS business_day,
       1 AS orders,
       amount AS revenue,
       amount AS average_order,
       amount AS smallest_order,
       amount AS largest_order,
       _w
FROM placed`,
  },
  {
    name: 'country_hour_orders',
    inputs: { o: { changes: 'orders' }, m: MERCHANT },
    keys: { country: 'TEXT(2)', hour_start_ms: 'BIGINT' },
    measures: { orders: of('count'), tipped: of('count'), tips: of('sum'), average_tip: of('avg') },
    sql: `SELECT m.country AS country,
       o.created_ms - o.created_ms % 3600000 AS hour_start_ms,
       1 AS orders,
       o.tip AS tipped,
       o.tip AS tips,
       o.tip AS average_tip,
       o._w AS _w
FROM o JOIN m ON m.merchant_id = o.merchant_id`,
  },
  {
    name: 'order_status',
    inputs: { o: { changes: 'orders' } },
    keys: { status: 'TEXT(16)' },
    measures: {
      orders: of('count'),
      amount: of('sum'),
      amount_variance: of('variance'),
      merchants: of('distinct'),
      oldest_ms: of('min'),
      newest_ms: of('max'),
    },
    sql: `SELECT o.status AS status, 1 AS orders, o.amount AS amount,
       o.amount AS amount_variance, o.merchant_id AS merchants,
       o.created_ms AS oldest_ms, o.created_ms AS newest_ms, o._w AS _w
FROM o`,
  },
  {
    name: 'customer_value',
    inputs: { o: { changes: 'orders' } },
    keys: { customer_id: 'BIGINT' },
    measures: { orders: of('count'), spent: of('sum'), largest_order: of('max'), last_order_ms: of('max') },
    sql: `SELECT o.customer_id AS customer_id, 1 AS orders, o.amount AS spent,
       o.amount AS largest_order, o.created_ms AS last_order_ms, o._w AS _w
FROM o
WHERE o.status <> 'cancelled'`,
  },
  {
    name: 'category_sales',
    inputs: { l: { changes: 'order_lines' }, p: PRODUCT, m: MERCHANT },
    keys: { category: 'TEXT(32)', country: 'TEXT(2)' },
    measures: {
      line_count: of('count'),
      pieces: of('sum'),
      revenue: of('sum'),
      average_discount: of('avg'),
      highest_discount: of('max'),
    },
    sql: `SELECT p.category AS category, m.country AS country,
       1 AS line_count,
       l.quantity AS pieces,
       l.quantity * l.unit_price - COALESCE(l.discount, 0) AS revenue,
       l.discount AS average_discount,
       l.discount AS highest_discount,
       l._w AS _w
FROM l
JOIN p ON p.product_id = l.product_id
JOIN m ON m.merchant_id = l.merchant_id`,
  },
  {
    name: 'product_prices',
    inputs: { l: { changes: 'order_lines' }, p: PRODUCT },
    keys: { product_id: 'BIGINT', price_band: 'TEXT(16)' },
    measures: {
      lowest_price: of('min'),
      highest_price: of('max'),
      average_price: of('avg'),
      line_count: of('count'),
    },
    sql: `SELECT l.product_id AS product_id,
       CASE WHEN l.unit_price * 10 < p.list_price * 9 THEN 'below'
            WHEN l.unit_price * 10 > p.list_price * 11 THEN 'above'
            ELSE 'list' END AS price_band,
       l.unit_price AS lowest_price,
       l.unit_price AS highest_price,
       l.unit_price AS average_price,
       1 AS line_count,
       l._w AS _w
FROM l JOIN p ON p.product_id = l.product_id`,
  },
  {
    name: 'tier_discounts',
    inputs: { l: { changes: 'order_lines' }, p: PRODUCT, m: MERCHANT },
    keys: { tier: 'TEXT(16)', category: 'TEXT(32)' },
    measures: { discounted: of('count'), given: of('sum'), least_given: of('min') },
    sql: `SELECT m.tier AS tier, p.category AS category,
       1 AS discounted, l.discount AS given, l.discount AS least_given, l._w AS _w
FROM l
JOIN m ON m.merchant_id = l.merchant_id
JOIN p ON p.product_id = l.product_id
WHERE l.discount > 0`,
  },
  {
    name: 'refund_reasons',
    inputs: { r: { changes: 'refunds' }, m: MERCHANT },
    keys: { reason: 'TEXT(32)', business_day: 'BIGINT' },
    measures: {
      refunds: of('count'),
      explained: of('count'),
      amount: of('sum'),
      largest: of('max'),
      smallest: of('min'),
    },
    sql: `SELECT COALESCE(r.reason, '(none)') AS reason,
       CAST((r.created_ms + (m.utc_offset_minutes - m.day_start_minutes) * 60000
             - (r.created_ms + (m.utc_offset_minutes - m.day_start_minutes) * 60000) % 86400000)
            / 86400000 AS SIGNED) AS business_day,
       1 AS refunds,
       CASE WHEN r.reason IS NOT NULL THEN 1 END AS explained,
       r.amount AS amount,
       r.amount AS largest,
       r.amount AS smallest,
       r._w AS _w
FROM r JOIN m ON m.merchant_id = r.merchant_id`,
  },
  {
    name: 'refunded_orders',
    inputs: { r: { changes: 'refunds' }, o: { changes: 'orders' }, m: MERCHANT },
    keys: { status: 'TEXT(16)', tier: 'TEXT(16)' },
    measures: {
      refunds: of('count'),
      refunded: of('sum'),
      average_kept: of('avg'),
      most_kept: of('max'),
      least_kept: of('min'),
    },
    sql: `SELECT o.status AS status, m.tier AS tier,
       1 AS refunds,
       r.amount AS refunded,
       o.amount - r.amount AS average_kept,
       o.amount - r.amount AS most_kept,
       o.amount - r.amount AS least_kept,
       r._w * o._w AS _w
FROM r
JOIN o ON o.order_id = r.order_id
JOIN m ON m.merchant_id = o.merchant_id`,
  },
  {
    name: 'merchant_statement',
    inputs: { l: { changes: 'order_lines' }, p: PRODUCT, m: MERCHANT },
    keys: { merchant_id: 'BIGINT', business_day: 'BIGINT', entry: 'TEXT(24)', size_band: 'TEXT(8)' },
    measures: { entries: of('count'), amount: of('sum'), average: of('avg') },
    sql: MERCHANT_STATEMENT_SQL,
  },
];
