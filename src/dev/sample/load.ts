/** Writes the shop's transactions to the source at a given rate, until it is stopped. */
import { isTidemarkError, sleep, TidemarkError, type Clock } from '../../base/index.ts';
import type { SqlConnection, SqlEngine, SqlValue } from '../../sql/index.ts';
import type { Random } from './random.ts';
import { createShop, type Order, type Shop, type ShopTransaction } from './shop.ts';

export interface LoadOptions {
  readonly source: SqlEngine;
  readonly random: Random;
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

/**
 * Runs until `signal` aborts; then the transaction at hand is finished. `totals` is kept up to date.
 * @throws TidemarkError of the database when nothing could be written for 30 s.
 */
export async function runLoad(options: LoadOptions, totals: LoadTotals): Promise<void> {
  const { clock, rate, signal, source } = options;
  const events = Math.max(1, Math.min(24, Math.round(rate / 150)));
  let shop = await loadShop(source, options.random);
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
      const changes = await writeNext(options, shop, events, totals);
      paced += changes;
      troubleSince = undefined;
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      troubleSince ??= clock.monotonicMs();
      if (clock.monotonicMs() - troubleSince > TROUBLE_MAX_MS) throw error;
      totals.failed += 1;
      await sleep(clock, 100);
      // Whether the transaction took effect does not matter to anyone but the model: it is read again.
      shop = await loadShop(source, options.random);
    }
  }
}

async function writeNext(
  { source, random, clock }: LoadOptions,
  shop: Shop,
  events: number,
  totals: LoadTotals,
): Promise<number> {
  const now = clock.wallMs();
  if (random.chance(1)) {
    await source.use('load', rollBackSome);
    totals.rolledBack += 1;
  }
  const tx = shop.plan(events, now);
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
async function rollBackSome(connection: SqlConnection): Promise<void> {
  await connection.begin('write');
  await connection.query('UPDATE orders SET amount = amount + 1000000 WHERE order_id % 50 = 0');
  await connection.query('DELETE FROM refunds WHERE refund_id % 7 = 0');
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

/** Reads what is open, so that a run on a kept folder goes on where the last one ended. */
async function loadShop(source: SqlEngine, random: Random): Promise<Shop> {
  return source.use('load', async (connection) => {
    const lines = groupByOrder(
      await read(
        connection,
        'SELECT order_id, line_id, product_id, quantity, unit_price, discount FROM order_lines',
      ),
      ([id, product, quantity, price, discount]) => ({
        id: int(id),
        product: int(product),
        quantity: int(quantity),
        price: int(price),
        discount: discount === null ? null : int(discount),
      }),
    );
    const refunds = groupByOrder(
      await read(connection, 'SELECT order_id, refund_id, amount FROM refunds'),
      ([id, amount]) => ({ id: int(id), amount: int(amount) }),
    );
    const rows = await read(
      connection,
      'SELECT order_id, merchant_id, status, created_ms FROM orders ORDER BY order_id',
    );
    const orders = rows.map(([id, merchant, status, createdMs]): Order => ({
      id: int(id),
      merchant: int(merchant),
      status: String(status),
      createdMs: int(createdMs),
      lines: lines.get(int(id)) ?? [],
      refunds: refunds.get(int(id)) ?? [],
    }));
    let lastId = 0;
    for (const order of orders) {
      lastId = Math.max(lastId, order.id, ...order.lines.map(byId), ...order.refunds.map(byId));
    }
    return createShop(random, { orders, lastId });
  });
}

const byId = (item: { readonly id: number }): number => item.id;

async function read(connection: SqlConnection, sql: string): Promise<readonly (readonly SqlValue[])[]> {
  return (await connection.query(sql)).rows;
}

function groupByOrder<T>(
  rows: readonly (readonly SqlValue[])[],
  make: (values: readonly SqlValue[]) => T,
): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const [order, ...values] of rows) {
    const id = int(order);
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [make(values)]);
    else group.push(make(values));
  }
  return groups;
}

function int(value: SqlValue | undefined): number {
  if (typeof value === 'bigint') return Number(value);
  throw new TidemarkError('INTERNAL', 'the sample source holds a value that the sample never writes');
}
