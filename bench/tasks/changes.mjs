// The change rows of bench:windows' load, made here instead of captured: of each ten row changes three are
// new orders, two payments of recent orders, five updates of recent orders.
import { CUSTOMERS, SHOPS } from '../windows/mix.mjs';
import { random } from '../windows/load.mjs';

const RECENT = 20_000;

/** Change rows in their order: `{ table, weight, row }`. */
export function changesOf(seed) {
  const pick = random(seed);
  const orders = [];
  let payments = 0;
  const insert = (into) => {
    const tip = pick(3) === 0 ? null : pick(500);
    const number = orders.length + 1;
    const noted = [1 + pick(SHOPS), 1 + pick(CUSTOMERS), pick(5), 100 + pick(100_000), tip];
    orders.push([number, ...noted, 1_790_000_000_000 + number * 7, 'bench']);
    into.push({ table: 'orders', weight: 1, row: orders.at(-1) });
  };
  const recent = () => orders.length - 1 - pick(Math.min(orders.length, RECENT));
  const pay = (into) => {
    payments += 1;
    const [order, shop] = orders[recent()];
    const row = [payments, order, shop, pick(4), 100 + pick(100_000)];
    into.push({ table: 'payments', weight: 1, row });
  };
  const update = (into) => {
    const at = recent();
    const old = orders[at];
    const row = [...old];
    row[3] = (row[3] + 1) % 5;
    row[4] += 1 + pick(9);
    orders[at] = row;
    into.push({ table: 'orders', weight: -1, row: old }, { table: 'orders', weight: 1, row });
  };
  const of = (count) => {
    const rows = [];
    for (let n = 0; n < count; n += 1) {
      const place = n % 10;
      (place < 3 ? insert : place < 5 ? pay : update)(rows);
    }
    return rows;
  };
  return {
    first(count) {
      const rows = [];
      for (let n = 0; n < count; n += 1) insert(rows);
      for (let n = 0; n < count / 2; n += 1) pay(rows);
      return rows;
    },
    next: of,
  };
}
