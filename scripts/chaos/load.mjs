// Small transactions without an end: inserts, updates, deletes, changed keys, several tables at once, some
// rolled back; and, when asked for, one that is large.
import mysql from 'mysql2/promise';
import { SHOPS, TABLES } from './job.mjs';
import { pause } from './timing.mjs';

const CONNECTIONS = 3;
const FEW = 20;
/** Older sales go: of a table that only grows, joins would be all that an hour's run is busy with. */
const SALES_KEPT = 10_000;
const SALES_GONE_AT_ONCE = 20;
const PASSING = ['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'ER_DUP_ENTRY', 'ER_TABLE_DEF_CHANGED'];

export class Load {
  #options;
  #connections = [];
  #workers = [];
  #failures = [];
  #ended = false;
  #going = Promise.resolve();
  #next = 1;
  #oldest = 1;
  #ballast = 0;
  totals = { transactions: 0, rolledBack: 0, failed: 0, changes: 0, largest: 0 };

  /** @param options `url`, `log` of the source, `rate` in transactions a second, `random` (below) => n */
  constructor(options) {
    this.#options = options;
  }

  async start() {
    const { url, log, random } = this.#options;
    this.#connections = await Promise.all(
      Array.from({ length: CONNECTIONS }, () => mysql.createConnection({ uri: url })),
    );
    const [first] = this.#connections;
    const items = Array.from({ length: 60 }, (_, n) => [n + 1, 1 + (n % SHOPS), n % 4, 100 + random(900)]);
    await log.transaction(first, () => first.query('INSERT INTO items VALUES ?', [items]));
    await this.large(FEW);
    this.#workers = this.#connections.map((connection) =>
      this.#work(connection).catch((error) => this.#failures.push(error)),
    );
  }

  /** Throws what ended a worker: a run without its load shows nothing. */
  check() {
    if (this.#failures.length > 0) throw this.#failures[0];
  }

  async stop() {
    this.#ended = true;
    await Promise.all(this.#workers);
    await Promise.all(this.#connections.map((connection) => connection.end()));
    this.check();
  }

  /** Does `work` while no transaction is under way. */
  async quietly(work) {
    let goOn;
    this.#going = new Promise((resolve) => {
      goOn = resolve;
    });
    try {
      // Who has just passed that has begun after a turn.
      await pause(0);
      await this.#options.log.known();
      return await work();
    } finally {
      goOn();
    }
  }

  /** One transaction of so many rows of one table, behind some of another. */
  async large(rows) {
    const connection = await mysql.createConnection({ uri: this.#options.url });
    const from = this.#ballast + 1;
    this.#ballast += rows;
    const to = this.#ballast;
    await this.#options.log.transaction(connection, async () => {
      await connection.query('UPDATE items SET price = price + 1 WHERE item_id % 7 = ?', [from % 7]);
      await connection.query(
        `INSERT INTO ballast (${TABLES.ballast})
         SELECT seq, 1 + seq % ${SHOPS}, seq % 97 FROM seq_${from}_to_${to}`,
      );
      await connection.query('UPDATE ballast SET v = v + 1 WHERE id % 10 = 0 AND id >= ?', [from]);
    });
    await connection.end();
    this.totals.largest = Math.max(this.totals.largest, rows);
  }

  async #work(connection) {
    const { rate, log } = this.#options;
    const everyMs = (1_000 * CONNECTIONS) / rate;
    while (!this.#ended) {
      const beganAt = performance.now();
      try {
        await log.transaction(connection, () => this.#transaction(connection));
      } catch (error) {
        if (!PASSING.includes(error.code)) throw error;
        this.totals.failed += 1;
      }
      await pause(Math.max(0, everyMs - (performance.now() - beganAt)));
      await this.#going;
    }
  }

  /** Gives false if it is to be undone. */
  async #transaction(connection) {
    const { random } = this.#options;
    let changes = 0;
    for (let left = 1 + random(4); left > 0; left -= 1) changes += await this.#statement(connection);
    const undone = random(12) === 0;
    this.totals.transactions += 1;
    if (undone) this.totals.rolledBack += 1;
    else this.totals.changes += changes;
    return !undone;
  }

  async #statement(connection) {
    const { random } = this.#options;
    const one = () => this.#oldest + random(this.#next - this.#oldest + 1);
    const run = async (sql, values) => (await connection.query(sql, values))[0].affectedRows;
    switch (random(9)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const rows = Array.from({ length: 1 + random(3) }, () => {
          const item = 1 + random(60);
          const discount = random(3) === 0 ? null : random(50);
          return [
            this.#next++,
            1 + ((item - 1) % SHOPS),
            item,
            ['new', 'paid'][random(2)],
            random(20),
            discount,
          ];
        });
        return run(`INSERT INTO sales (${TABLES.sales}) VALUES ?`, [rows]);
      }
      case 4:
        return run('UPDATE sales SET state = ?, quantity = quantity + 1 WHERE sale_id BETWEEN ? AND ? + 2', [
          ['paid', 'sent', 'Paid'][random(3)],
          ...Array(2).fill(one()),
        ]);
      case 5:
        return run('UPDATE sales SET discount = IF(discount IS NULL, 7, NULL) WHERE sale_id = ?', [one()]);
      case 6: {
        if (this.#next - this.#oldest > SALES_KEPT) this.#oldest += SALES_GONE_AT_ONCE;
        return run('DELETE FROM sales WHERE sale_id = ? OR sale_id < ?', [one(), this.#oldest]);
      }
      case 7:
        return run(
          'UPDATE sales SET shop_id = shop_id % ? + 1, item_id = item_id % 60 + 1 WHERE sale_id = ?',
          [SHOPS, one()],
        );
      default:
        return random(2) === 0
          ? run('UPDATE items SET price = price + ?, kind = ? WHERE item_id = ?', [
              random(9),
              random(4),
              1 + random(60),
            ])
          : run('UPDATE sales SET sale_id = ? WHERE sale_id = ?', [this.#next++, one()]);
    }
  }
}
