/**
 * The sample's business as a pure model: which orders are open, and what happens next. It plans whole
 * transactions; the load writes them. The mix holds what is hard for a report: updates that move a row from
 * one cell to another, deletes of the least and greatest value, changed primary keys, NULLs that come and go.
 */
import type { SqlParam } from '../../sql/index.ts';
import { MERCHANT_COUNT, PRODUCT_COUNT } from './dimensions.ts';
import type { Random } from './random.ts';

export interface Line {
  readonly id: number;
  readonly product: number;
  readonly quantity: number;
  readonly price: number;
  readonly discount: number | null;
}

export interface Order {
  readonly id: number;
  readonly merchant: number;
  readonly status: string;
  readonly createdMs: number;
  readonly lines: readonly Line[];
  readonly refunds: readonly { readonly id: number; readonly amount: number }[];
}

/** One transaction: rows to insert first, then statements in order. */
export interface ShopTransaction {
  readonly orders: SqlParam[][];
  readonly lines: SqlParam[][];
  readonly refunds: SqlParam[][];
  readonly statements: { readonly sql: string; readonly params: readonly SqlParam[] }[];
  /** Row changes that it makes. */
  changes: number;
}

const OPEN_ORDERS_MAX = 4_000;
const CUSTOMERS = 300;
const STATUS_AFTER: Readonly<Record<string, readonly [string, ...string[]]>> = {
  created: ['paid', 'paid', 'paid', 'cancelled'],
  paid: ['packed', 'packed', 'cancelled'],
  packed: ['shipped'],
  cancelled: ['created'],
  shipped: ['delivered'],
  delivered: ['delivered', 'returned'],
  returned: ['paid'],
};
const REASONS = ['damaged', 'Damaged', 'late', 'zu spät', 'wrong item', null] as const;

export interface Shop {
  /** Plans one transaction of `events` business events. The model has then moved on. */
  plan(events: number, nowMs: number): ShopTransaction;
}

export function createShop(
  random: Random,
  { orders, nextId }: { readonly orders: readonly Order[]; readonly nextId: () => number },
): Shop {
  const open: Order[] = [...orders];

  const place = (tx: ShopTransaction, nowMs: number): void => {
    const createdMs = nowMs - (random.chance(30) ? random.below(3 * 86_400_000) : 0);
    const lines = Array.from({ length: 1 + random.below(4) }, () => newLine(nextId(), random));
    const order: Order = {
      id: nextId(),
      merchant: 1 + random.below(MERCHANT_COUNT),
      status: 'created',
      createdMs,
      lines,
      refunds: [],
    };
    open.push(order);
    const tip = random.chance(40) ? random.below(500) : null;
    tx.orders.push(orderRow(order, 1 + random.below(CUSTOMERS), tip));
    for (const line of lines) tx.lines.push(lineRow(order, line));
    tx.changes += 1 + lines.length;
  };

  /** Replaces the order at `index` in the model and hands the new one back. */
  const put = (index: number, order: Order): Order => {
    open[index] = order;
    return order;
  };

  const event = (tx: ShopTransaction, nowMs: number): void => {
    if (open.length > OPEN_ORDERS_MAX) {
      removeOrder(tx, open.shift());
      return;
    }
    const index = random.below(open.length);
    const order = open[index];
    const dice = random.below(100);
    if (order === undefined || dice < 42) place(tx, nowMs);
    else if (dice < 62) put(index, step(tx, order, random));
    else if (dice < 74) put(index, editLine(tx, order, random));
    else if (dice < 80) put(index, removeLine(tx, order, random));
    else if (dice < 87) put(index, refund(tx, order, { random, id: nextId(), nowMs }));
    else if (dice < 90) put(index, changeRefund(tx, order, random));
    else if (dice < 93) put(index, moveOrder(tx, order, random));
    else if (dice < 95) put(index, renumberLine(tx, order, nextId()));
    else if (dice < 97) putTip(tx, order, random);
    else removeOrder(tx, open.splice(index, 1)[0]);
  };

  return {
    plan(events, nowMs) {
      const tx: ShopTransaction = { orders: [], lines: [], refunds: [], statements: [], changes: 0 };
      for (let done = 0; done < events; done += 1) event(tx, nowMs);
      return tx;
    },
  };
}

function newLine(id: number, random: Random): Line {
  return {
    id,
    product: 1 + random.below(PRODUCT_COUNT),
    quantity: 1 + random.below(5),
    price: 100 + random.below(9_900),
    discount: random.chance(35) ? random.below(100) : null,
  };
}

function orderRow(
  { id, merchant, status, lines, createdMs }: Order,
  customer: number,
  tip: number | null,
): SqlParam[] {
  return [id, merchant, customer, status, amountOf(lines), tip, createdMs];
}

function lineRow(order: Order, line: Line): SqlParam[] {
  const { id, product, quantity, price, discount } = line;
  return [id, order.id, order.merchant, product, quantity, price, discount, order.createdMs];
}

function amountOf(lines: readonly Line[]): number {
  return lines.reduce((sum, line) => sum + line.quantity * line.price - (line.discount ?? 0), 0);
}

function run(tx: ShopTransaction, changes: number, sql: string, ...params: SqlParam[]): void {
  if (changes === 0) return;
  tx.statements.push({ sql, params });
  tx.changes += changes;
}

function step(tx: ShopTransaction, order: Order, random: Random): Order {
  const status = random.pick(STATUS_AFTER[order.status] ?? ['created']);
  if (status === order.status) return order;
  run(tx, 1, 'UPDATE orders SET status = ? WHERE order_id = ?', status, order.id);
  return { ...order, status };
}

function putTip(tx: ShopTransaction, order: Order, random: Random): void {
  const tip = random.chance(50) ? random.below(900) : null;
  run(tx, 1, 'UPDATE orders SET tip = ? WHERE order_id = ?', tip, order.id);
}

function editLine(tx: ShopTransaction, order: Order, random: Random): Order {
  const at = random.below(order.lines.length);
  const old = order.lines[at];
  if (old === undefined) return order;
  const line = { ...newLine(old.id, random), product: old.product };
  const lines = order.lines.with(at, line);
  run(
    tx,
    1,
    'UPDATE order_lines SET quantity = ?, unit_price = ?, discount = ? WHERE line_id = ?',
    line.quantity,
    line.price,
    line.discount,
    line.id,
  );
  return withLines(tx, order, lines);
}

function removeLine(tx: ShopTransaction, order: Order, random: Random): Order {
  const line = order.lines[random.below(order.lines.length)];
  if (line === undefined) return order;
  run(tx, 1, 'DELETE FROM order_lines WHERE line_id = ?', line.id);
  return withLines(
    tx,
    order,
    order.lines.filter((other) => other !== line),
  );
}

function withLines(tx: ShopTransaction, order: Order, lines: readonly Line[]): Order {
  run(tx, 1, 'UPDATE orders SET amount = ? WHERE order_id = ?', amountOf(lines), order.id);
  return { ...order, lines };
}

function refund(
  tx: ShopTransaction,
  order: Order,
  { random, id, nowMs }: { random: Random; id: number; nowMs: number },
): Order {
  const amount = 1 + random.below(Math.max(1, amountOf(order.lines)));
  tx.refunds.push([id, order.id, order.merchant, amount, random.pick(REASONS), nowMs]);
  tx.changes += 1;
  return { ...order, refunds: [...order.refunds, { id, amount }] };
}

function changeRefund(tx: ShopTransaction, order: Order, random: Random): Order {
  const found = order.refunds[random.below(order.refunds.length)];
  if (found === undefined) return order;
  const others = order.refunds.filter((other) => other !== found);
  if (random.chance(50)) {
    run(tx, 1, 'DELETE FROM refunds WHERE refund_id = ?', found.id);
    return { ...order, refunds: others };
  }
  const amount = found.amount + 1 + random.below(500);
  const reason = random.pick(REASONS);
  run(tx, 1, 'UPDATE refunds SET amount = ?, reason = ? WHERE refund_id = ?', amount, reason, found.id);
  return { ...order, refunds: [...others, { id: found.id, amount }] };
}

function moveOrder(tx: ShopTransaction, order: Order, random: Random): Order {
  const merchant = 1 + (order.merchant % MERCHANT_COUNT);
  const { lines, refunds } = order;
  const customer = 1 + random.below(CUSTOMERS);
  const sql = 'UPDATE orders SET merchant_id = ?, customer_id = ? WHERE order_id = ?';
  run(tx, 1, sql, merchant, customer, order.id);
  run(tx, lines.length, ...inIds('UPDATE order_lines SET merchant_id = ? WHERE line_id', lines, merchant));
  run(tx, refunds.length, ...inIds('UPDATE refunds SET merchant_id = ? WHERE refund_id', refunds, merchant));
  return { ...order, merchant };
}

function renumberLine(tx: ShopTransaction, order: Order, id: number): Order {
  const line = order.lines[0];
  if (line === undefined) return order;
  run(tx, 1, 'UPDATE order_lines SET line_id = ? WHERE line_id = ?', id, line.id);
  return { ...order, lines: order.lines.with(0, { ...line, id }) };
}

function removeOrder(tx: ShopTransaction, order: Order | undefined): void {
  if (order === undefined) return;
  run(tx, order.lines.length, ...inIds('DELETE FROM order_lines WHERE line_id', order.lines));
  run(tx, order.refunds.length, ...inIds('DELETE FROM refunds WHERE refund_id', order.refunds));
  run(tx, 1, 'DELETE FROM orders WHERE order_id = ?', order.id);
}

/** By primary key, not by order id: the sample's tables have no second index to look an order's lines up. */
function inIds(
  head: string,
  items: readonly { readonly id: number }[],
  ...params: SqlParam[]
): [string, ...SqlParam[]] {
  return [`${head} IN (${items.map(() => '?').join(', ')})`, ...params, ...items.map((item) => item.id)];
}
