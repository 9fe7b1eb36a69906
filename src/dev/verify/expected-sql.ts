/**
 * What each sample report must show, as plain SQL over the source's own base tables.
 *
 * Written by hand and apart from the job: no weights, no windows, no common table expressions, no code of
 * collector, job or merge (evidence rule 2). An average is given as `<name>:sum` and `<name>:count`, a
 * variance with `<name>:squares` beside them, so that the comparison can be exact.
 */
import type { EngineKind } from '../../sql/index.ts';

export interface ExpectedReport {
  readonly report: string;
  /** The first columns of the result; the rest are cells. */
  readonly keys: readonly string[];
  readonly sql: string;
}

export function expectedReports(kind: EngineKind): readonly ExpectedReport[] {
  const div = (a: string, b: string): string => (kind === 'mysql' ? `(${a}) DIV (${b})` : `(${a}) / (${b})`);
  const name = (text: string): string => (kind === 'mysql' ? `\`${text}\`` : `"${text}"`);
  const day = (column: string): string =>
    div(`${column} + mm.utc_offset_minutes * 60000 - mm.day_start_minutes * 60000`, '86400000');
  const average = (alias: string, column: string): string =>
    `SUM(${column}) AS ${name(`${alias}:sum`)}, COUNT(${column}) AS ${name(`${alias}:count`)}`;
  const variance = (alias: string, column: string): string =>
    `${average(alias, column)}, SUM(${column} * ${column}) AS ${name(`${alias}:squares`)}`;
  return [
    ...overOrders({ day, div, average, variance }),
    ...overLines({ average }),
    ...statement({ day, div, average }),
    overRefunds(day),
    refundedOrders(average),
  ];
}

interface Parts {
  readonly day: (column: string) => string;
  readonly div: (a: string, b: string) => string;
  readonly average: (alias: string, column: string) => string;
  readonly variance: (alias: string, column: string) => string;
}

function overOrders({ day, div, average, variance }: Parts): ExpectedReport[] {
  return [
    {
      report: 'merchant_day_sales',
      keys: ['merchant_id', 'business_day'],
      sql: `SELECT oo.merchant_id AS merchant_id, ${day('oo.created_ms')} AS business_day,
        COUNT(*) AS orders, SUM(oo.amount) AS revenue, ${average('average_order', 'oo.amount')},
        MIN(oo.amount) AS smallest_order, MAX(oo.amount) AS largest_order
        FROM orders oo, merchants mm
        WHERE mm.merchant_id = oo.merchant_id AND NOT oo.status = 'cancelled'
        GROUP BY oo.merchant_id, ${day('oo.created_ms')}`,
    },
    {
      report: 'country_hour_orders',
      keys: ['country', 'hour_start_ms'],
      sql: `SELECT mm.country AS country, ${div('oo.created_ms', '3600000')} * 3600000 AS hour_start_ms,
        COUNT(*) AS orders, COUNT(oo.tip) AS tipped, SUM(oo.tip) AS tips, ${average('average_tip', 'oo.tip')}
        FROM orders oo, merchants mm WHERE mm.merchant_id = oo.merchant_id
        GROUP BY mm.country, ${div('oo.created_ms', '3600000')} * 3600000`,
    },
    {
      report: 'order_status',
      keys: ['status'],
      sql: `SELECT status, COUNT(*) AS orders, SUM(amount) AS amount,
        ${variance('amount_variance', 'amount')}, COUNT(DISTINCT merchant_id) AS merchants,
        MIN(created_ms) AS oldest_ms, MAX(created_ms) AS newest_ms FROM orders GROUP BY status`,
    },
    {
      report: 'customer_value',
      keys: ['customer_id'],
      sql: `SELECT customer_id, COUNT(*) AS orders, SUM(amount) AS spent, MAX(amount) AS largest_order,
        MAX(created_ms) AS last_order_ms FROM orders WHERE NOT status = 'cancelled' GROUP BY customer_id`,
    },
  ];
}

function overLines({ average }: Pick<Parts, 'average'>): ExpectedReport[] {
  const band = `CASE WHEN 10 * (ll.unit_price - pp.list_price) > pp.list_price THEN 'above'
    WHEN 10 * (pp.list_price - ll.unit_price) > pp.list_price THEN 'below' ELSE 'list' END`;
  return [
    {
      report: 'category_sales',
      keys: ['category', 'country'],
      sql: `SELECT pp.category AS category, mm.country AS country, COUNT(*) AS line_count,
        SUM(ll.quantity) AS pieces,
        SUM(ll.quantity * ll.unit_price) - COALESCE(SUM(ll.discount), 0) AS revenue,
        ${average('average_discount', 'll.discount')}, MAX(ll.discount) AS highest_discount
        FROM order_lines ll, products pp, merchants mm
        WHERE pp.product_id = ll.product_id AND mm.merchant_id = ll.merchant_id
        GROUP BY pp.category, mm.country`,
    },
    {
      report: 'product_prices',
      keys: ['product_id', 'price_band'],
      sql: `SELECT ll.product_id AS product_id, ${band} AS price_band, MIN(ll.unit_price) AS lowest_price,
        MAX(ll.unit_price) AS highest_price, ${average('average_price', 'll.unit_price')},
        COUNT(*) AS line_count
        FROM order_lines ll, products pp WHERE pp.product_id = ll.product_id
        GROUP BY ll.product_id, ${band}`,
    },
    {
      report: 'tier_discounts',
      keys: ['tier', 'category'],
      sql: `SELECT mm.tier AS tier, pp.category AS category, COUNT(*) AS discounted,
        SUM(ll.discount) AS given, MIN(ll.discount) AS least_given
        FROM order_lines ll, products pp, merchants mm
        WHERE pp.product_id = ll.product_id AND mm.merchant_id = ll.merchant_id
          AND ll.discount IS NOT NULL AND ll.discount <> 0
        GROUP BY mm.tier, pp.category`,
    },
  ];
}

function overRefunds(day: Parts['day']): ExpectedReport {
  const reason = `CASE WHEN rr.reason IS NULL THEN '(none)' ELSE rr.reason END`;
  return {
    report: 'refund_reasons',
    keys: ['reason', 'business_day'],
    sql: `SELECT ${reason} AS reason, ${day('rr.created_ms')} AS business_day, COUNT(*) AS refunds,
      COUNT(rr.reason) AS explained, SUM(rr.amount) AS amount, MAX(rr.amount) AS largest,
      MIN(rr.amount) AS smallest
      FROM refunds rr, merchants mm WHERE mm.merchant_id = rr.merchant_id
      GROUP BY ${reason}, ${day('rr.created_ms')}`,
  };
}

/** Two tables that change; the amounts of both, and the status, move while a refund stands. */
function refundedOrders(average: Parts['average']): ExpectedReport {
  return {
    report: 'refunded_orders',
    keys: ['status', 'tier'],
    sql: `SELECT oo.status AS status, mm.tier AS tier, COUNT(*) AS refunds, SUM(rr.amount) AS refunded,
      ${average('average_kept', '(oo.amount - rr.amount)')}, MAX(oo.amount - rr.amount) AS most_kept,
      MIN(oo.amount - rr.amount) AS least_kept
      FROM orders oo, refunds rr, merchants mm
      WHERE oo.order_id = rr.order_id AND mm.merchant_id = oo.merchant_id
      GROUP BY oo.status, mm.tier`,
  };
}

/** One statement per kind of entry; their rows are the report's rows together (no key is in two of them). */
function statement({ day, div, average }: Omit<Parts, 'variance'>): ExpectedReport[] {
  const gross = 'll.quantity * ll.unit_price';
  const net = `(${gross} - COALESCE(ll.discount, 0))`;
  const rate = `mm.commission_permille - CASE WHEN mm.tier IN ('gold', 'Gold') THEN 10 ELSE 0 END`;
  const markup = 'll.quantity * ll.unit_price - ll.quantity * pp.list_price';
  const band = `CASE WHEN ${gross} >= 10000 THEN 'large'
    WHEN ${gross} >= 1000 THEN 'medium' ELSE 'small' END`;
  const entry = (label: string, value: string, where: string): string =>
    `SELECT ll.merchant_id AS merchant_id, ${day('ll.created_ms')} AS business_day, ${label} AS entry,
      ${band} AS size_band, COUNT(*) AS entries, SUM(${value}) AS amount, ${average('average', value)}
      FROM order_lines ll, products pp, merchants mm
      WHERE pp.product_id = ll.product_id AND mm.merchant_id = ll.merchant_id AND ${where}
      GROUP BY ll.merchant_id, ${day('ll.created_ms')}, ${band}`;
  const tax = div(`${net} * pp.tax_permille`, '1000');
  const commission = div(`${net} * (${rate})`, '1000');
  return [
    {
      report: 'merchant_statement',
      keys: ['merchant_id', 'business_day', 'entry', 'size_band'],
      sql: [
        entry(`'gross'`, gross, '1 = 1'),
        entry(`'discount'`, '-ll.discount', 'll.discount > 0'),
        entry(`'tax'`, tax, `NOT mm.country = 'US'`),
        entry(`'commission'`, `-(${commission})`, '1 = 1'),
        entry(`'above list'`, markup, 'll.unit_price > pp.list_price'),
        entry(`'below list'`, markup, 'll.unit_price < pp.list_price'),
      ].join('\nUNION ALL\n'),
    },
  ];
}
