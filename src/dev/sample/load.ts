/** Writes the shop's transactions to the source at a given rate, until it is stopped. */
import { isTidemarkError, sleep, type Clock } from '../../base/index.ts';
import type { SqlConnection, SqlEngine } from '../../sql/index.ts';
import { readShop, type Lane } from './open-orders.ts';
import { seededRandom, type Random } from './random.ts';
import type { Shop, ShopTransaction } from './shop.ts';

export interface LoadOptions {
  readonly source: SqlEngine;
  readonly seed: number;
  readonly clock: Clock;
  /** Row changes per second to aim at. */
  readonly rate: number;
  readonly signal: AbortSignal;
}

export interface LoadTotals {
  /** Row changes of committed transactions. */
  changes: number;
  transactions: number;
  rolledBack: number;
  /** Transactions that the database refused and that were given up. */
  failed: number;
}

/** A database that refuses everything for this long ends the run. */
const TROUBLE_MAX_MS = 30_000;
const PAUSE_MS = 5;
/** Above this many row changes per second the business runs several tills. */
const RATE_PER_LANE = 400;
const LANES_MAX = 4;
const EVENTS_PER_TRANSACTION_MAX = 24;

/**
 * Runs until `signal` aborts; then the transactions at hand are finished. `totals` is kept up to date.
 * @throws TidemarkError of the database when nothing could be written for 30 s.
 */
export async function runLoad(options: LoadOptions, totals: LoadTotals): Promise<void> {
  // An embedded database has one writer at a time anyway.
  const wanted = options.source.kind === 'mysql' ? Math.ceil(options.rate / RATE_PER_LANE) : 1;
  const count = Math.min(LANES_MAX, wanted);
  const lanes = Array.from({ length: count }, (_, index) => {
    const random = seededRandom(options.seed * LANES_MAX + index);
    return runLane({ ...options, rate: options.rate / count, random, lane: { index, count } }, totals);
  });
  await Promise.all(lanes);
}

interface LaneOptions extends LoadOptions {
  readonly random: Random;
  readonly lane: Lane;
}

async function runLane(options: LaneOptions, totals: LoadTotals): Promise<void> {
  const { clock, rate, signal, source } = options;
  let shop: Shop | undefined;
  let paceFrom = clock.monotonicMs();
  let paced = 0;
  let troubleSince: number | undefined;
  while (!signal.aborted) {
    const due = ((clock.monotonicMs() - paceFrom) * rate) / 1_000;
    if (paced >= due) {
      await sleep(clock, PAUSE_MS);
      continue;
    }
    // A source that fell a second behind does not get the backlog in one burst.
    if (due - paced > rate) {
      paceFrom = clock.monotonicMs();
      paced = 0;
    }
    try {
      shop ??= await readShop(source, options);
      paced += await writeNext(options, shop, totals);
      troubleSince = undefined;
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      troubleSince ??= clock.monotonicMs();
      if (clock.monotonicMs() - troubleSince > TROUBLE_MAX_MS) throw error;
      totals.failed += 1;
      // Whether the transaction took effect does not matter to anyone but the model: it is read again.
      shop = undefined;
      await sleep(clock, 100);
    }
  }
}

async function writeNext(options: LaneOptions, shop: Shop, totals: LoadTotals): Promise<number> {
  const { source, random, clock, rate } = options;
  if (random.chance(1)) {
    await source.use('load', (connection) => rollBackSome(connection, options.lane));
    totals.rolledBack += 1;
  }
  // Small transactions where the rate allows it: dozens a second.
  const events = Math.max(1, Math.min(EVENTS_PER_TRANSACTION_MAX, Math.round(rate / 150)));
  const tx = shop.plan(events, clock.wallMs());
  if (tx.changes === 0) return 0;
  await source.use('load', (connection) => write(connection, tx));
  totals.changes += tx.changes;
  totals.transactions += 1;
  return tx.changes;
}

async function write(connection: SqlConnection, tx: ShopTransaction): Promise<void> {
  await connection.begin('write');
  try {
    if (tx.orders.length > 0) await connection.insertRows('orders', ORDER_COLUMNS, tx.orders);
    if (tx.lines.length > 0) await connection.insertRows('order_lines', LINE_COLUMNS, tx.lines);
    if (tx.refunds.length > 0) await connection.insertRows('refunds', REFUND_COLUMNS, tx.refunds);
    for (const { sql, params } of tx.statements) await connection.query(sql, params);
  } catch (error) {
    connection.destroy();
    throw error;
  }
  await connection.commit();
}

/** What is rolled back must never show in a report. */
async function rollBackSome(connection: SqlConnection, { index, count }: Lane): Promise<void> {
  await connection.begin('write');
  const sql = 'UPDATE orders SET amount = amount + 1000000 WHERE order_id % ? = ? AND order_id % 50 = 0';
  await connection.query(sql, [count, index]);
  await connection.query('DELETE FROM refunds WHERE order_id % ? = ? AND refund_id % 7 = 0', [count, index]);
  await connection.rollback();
}

const ORDER_COLUMNS = ['order_id', 'merchant_id', 'customer_id', 'status', 'amount', 'tip', 'created_ms'];
const LINE_COLUMNS = [
  'line_id',
  'order_id',
  'merchant_id',
  'product_id',
  'quantity',
  'unit_price',
  'discount',
  'created_ms',
];
const REFUND_COLUMNS = ['refund_id', 'order_id', 'merchant_id', 'amount', 'reason', 'created_ms'];
