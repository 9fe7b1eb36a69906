/**
 * The sample source: a small marketplace. `merchants` and `products` never change (dimensions); `orders`,
 * `order_lines` and `refunds` do (captured). Money is integer minor units, moments are milliseconds since
 * 1970, so that every cell is exact on both engines.
 */
import type { EngineKind } from '../../sql/index.ts';

/** What belongs to an order is found on the order's shard, so that it can be joined there. */
export const CAPTURED_TABLES = [
  { table: 'orders', shardKey: 'order_id' },
  { table: 'order_lines', shardKey: 'order_id' },
  { table: 'refunds', shardKey: 'order_id' },
  { table: 'markers', shardKey: 'marker_id' },
] as const;

/** Returns the statements that make the sample's tables. Repeating them changes nothing. */
export function sampleSchema(kind: EngineKind): readonly string[] {
  // Report keys are compared as bytes; so must the verifier's GROUP BY over the base tables.
  const suffix = kind === 'mysql' ? ' ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin' : '';
  return TABLES.map((table) => `CREATE TABLE IF NOT EXISTS ${table}${suffix}`);
}

const TABLES: readonly string[] = [
  `merchants (
    merchant_id BIGINT NOT NULL,
    name VARCHAR(64) NOT NULL,
    country VARCHAR(2) NOT NULL,
    tier VARCHAR(16) NOT NULL,
    utc_offset_minutes BIGINT NOT NULL,
    day_start_minutes BIGINT NOT NULL,
    commission_permille BIGINT NOT NULL,
    PRIMARY KEY (merchant_id)
  )`,
  `products (
    product_id BIGINT NOT NULL,
    name VARCHAR(64) NOT NULL,
    category VARCHAR(32) NOT NULL,
    list_price BIGINT NOT NULL,
    tax_permille BIGINT NOT NULL,
    PRIMARY KEY (product_id)
  )`,
  `orders (
    order_id BIGINT NOT NULL,
    merchant_id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL,
    status VARCHAR(16) NOT NULL,
    amount BIGINT NOT NULL,
    tip BIGINT,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (order_id)
  )`,
  `order_lines (
    line_id BIGINT NOT NULL,
    order_id BIGINT NOT NULL,
    merchant_id BIGINT NOT NULL,
    product_id BIGINT NOT NULL,
    quantity BIGINT NOT NULL,
    unit_price BIGINT NOT NULL,
    discount BIGINT,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (line_id)
  )`,
  `refunds (
    refund_id BIGINT NOT NULL,
    order_id BIGINT NOT NULL,
    merchant_id BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    reason VARCHAR(32),
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (refund_id)
  )`,
  // One transaction each, to measure freshness; part of no report.
  `markers (
    marker_id BIGINT NOT NULL,
    sent_ms BIGINT NOT NULL,
    PRIMARY KEY (marker_id)
  )`,
];
