/** Reads what is open, so that a run on a kept folder goes on where the last one ended. */
import { TidemarkError } from '../../base/index.ts';
import type { SqlConnection, SqlEngine, SqlValue } from '../../sql/index.ts';
import type { Random } from './random.ts';
import { createShop, type Order, type Shop } from './shop.ts';

/** One of several writers: it owns the orders whose id leaves `index` when divided by `count`. */
export interface Lane {
  readonly index: number;
  readonly count: number;
}

export async function readShop(
  source: SqlEngine,
  { random, lane }: { readonly random: Random; readonly lane: Lane },
): Promise<Shop> {
  return source.use('load', async (connection) => {
    const own = `order_id % ${lane.count} = ${lane.index}`;
    const lines = groupByOrder(
      await read(
        connection,
        `SELECT order_id, line_id, product_id, quantity, unit_price, discount FROM order_lines WHERE ${own}`,
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
      await read(connection, `SELECT order_id, refund_id, amount FROM refunds WHERE ${own}`),
      ([id, amount]) => ({ id: int(id), amount: int(amount) }),
    );
    const rows = await read(
      connection,
      `SELECT order_id, merchant_id, status, created_ms FROM orders WHERE ${own} ORDER BY order_id`,
    );
    const orders = rows.map(([id, merchant, status, createdMs]): Order => ({
      id: int(id),
      merchant: int(merchant),
      status: String(status),
      createdMs: int(createdMs),
      lines: lines.get(int(id)) ?? [],
      refunds: refunds.get(int(id)) ?? [],
    }));
    return createShop(random, { orders, nextId: await idMaker(connection, lane) });
  });
}

/** Ids above every one there is, and no other lane's: they leave the lane's own remainder. */
async function idMaker(connection: SqlConnection, { index, count }: Lane): Promise<() => number> {
  const highest = async (column: string, table: string): Promise<number> => {
    const [row] = await read(connection, `SELECT COALESCE(MAX(${column}), 0) FROM ${table}`);
    return int(row?.[0]);
  };
  const used = Math.max(
    await highest('order_id', 'orders'),
    await highest('line_id', 'order_lines'),
    await highest('refund_id', 'refunds'),
  );
  let last = Math.ceil(used / count) * count + index;
  return () => (last += count);
}

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
