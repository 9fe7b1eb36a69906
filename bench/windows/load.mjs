// Transactions of ten row changes each at a rate: half of the changes are updates of rows of the last while.
import mysql from 'mysql2/promise';
import { pause } from '../cluster.mjs';
import { CUSTOMERS, SHOPS } from './mix.mjs';

const CONNECTIONS = 8;
const RECENT = 20_000;
const PER_TRANSACTION = 10;

/** A random sequence of its own: two runs of a seed write the same rows. */
export function random(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** How many transactions should have been begun by now, at a rate that may change on the way. */
export function schedule(rate) {
  let due = 0;
  let at = performance.now();
  let current = rate;
  const now = () => {
    const moment = performance.now();
    due += ((moment - at) / 1_000) * (current / PER_TRANSACTION);
    at = moment;
    return due;
  };
  return {
    now,
    /** Row changes a second from here on. What was not reached of the former rate is not made up for. */
    change(next, begun) {
      now();
      current = next;
      due = begun;
    },
  };
}

/**
 * Writes until `signal` aborts. `onCommit(connection, at)` is called after each commit with the moment at
 * which it returned. `progress.changes` counts; `setRate` on it changes the rate. Resolves with the number
 * of changes and the seconds that it took.
 */
export async function runLoad({ url, rate, seed = 1, signal, progress, onCommit = async () => undefined }) {
  const connections = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => mysql.createConnection({ uri: url })),
  );
  const pick = random(seed);
  let orders = 0;
  let payments = 0;
  let transactions = 0;
  const beganAt = performance.now();
  const orderRow = () => {
    orders += 1;
    const tip = pick(3) === 0 ? null : pick(500);
    const noted = [1 + pick(SHOPS), 1 + pick(CUSTOMERS), pick(5), 100 + pick(100_000), tip];
    return [orders, ...noted, 1_790_000_000_000 + orders * 7, 'bench'];
  };
  const paymentRow = () => {
    payments += 1;
    const order = Math.max(1, orders - pick(Math.min(orders, RECENT)));
    return [payments, order, pick(4), 100 + pick(100_000)];
  };
  const transaction = async (connection) => {
    const newOrders = [orderRow(), orderRow(), orderRow()];
    const newPayments = [paymentRow(), paymentRow()];
    const older = () => Math.max(1, orders - 3 - pick(Math.min(orders, RECENT)));
    const touched = Array.from({ length: 5 }, older);
    const ids = [...new Set(touched)].sort((a, b) => a - b);
    await connection.query('START TRANSACTION');
    await connection.query('INSERT INTO orders VALUES ?', [newOrders]);
    // A payment has its order's shop, so that both lie on one shard.
    const rows = newPayments.map(
      () => 'SELECT ?, o.order_id, o.shop_id, ?, ? FROM orders o WHERE o.order_id = ?',
    );
    await connection.query(
      `INSERT INTO payments ${rows.join(' UNION ALL ')}`,
      newPayments.flatMap(([id, order, method, paid]) => [id, method, paid, order]),
    );
    const [updated] = await connection.query(
      'UPDATE orders SET status = (status + 1) % 5, amount = amount + ? WHERE order_id IN (?)',
      [1 + pick(9), ids],
    );
    await connection.query('COMMIT');
    return newOrders.length + newPayments.length + updated.affectedRows;
  };
  const due = schedule(rate);
  progress.changes = 0;
  progress.setRate = (next) => due.change(next, transactions);
  const worker = async (connection) => {
    while (!signal.aborted) {
      if (transactions >= due.now()) {
        await pause(2);
        continue;
      }
      transactions += 1;
      try {
        const written = await transaction(connection);
        progress.changes += written;
        await onCommit(connection, performance.now());
      } catch (error) {
        if (error.code !== 'ER_LOCK_DEADLOCK') throw error;
        await connection.query('ROLLBACK');
      }
    }
  };
  await Promise.all(connections.map(worker));
  const seconds = (performance.now() - beganAt) / 1_000;
  await Promise.all(connections.map((connection) => connection.end()));
  return { changes: progress.changes, seconds };
}
