// What the source itself knows of its changes: triggers write every row image into a table that nobody
// captures, in the transaction of the change and under a number of it; its writer notes where in the binlog
// it was committed. So it is known of any two positions which changes lie between them (evidence rule 2:
// nothing here reads the binlog or shares code with what does).
import { TABLES } from './job.mjs';

const LOG = 'change_log';

export class SourceLog {
  #connection;
  #next = 1;
  #open = new Set();
  /** In the order of the binlog: `[sequence number of the GTID, number of the transaction]`. */
  #commits = [];

  /** @param connection for its own questions, with the right to make triggers */
  static async make(connection) {
    const log = new SourceLog();
    log.#connection = connection;
    await connection.query(
      `CREATE TABLE ${LOG} (n BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, tx BIGINT NOT NULL,
       weight INT NOT NULL, image VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, KEY (tx))`,
    );
    for (const [table, columns] of Object.entries(TABLES)) {
      const noted = (weight, row) =>
        `INSERT INTO ${LOG} (tx, weight, image) VALUES (@tx, ${weight}, ${imageOf(table, columns, row)});`;
      // The server logs no update that changes nothing, and runs the trigger all the same.
      const same = columns.map((column) => `OLD.${column} <=> NEW.${column}`).join(' AND ');
      const bodies = {
        INSERT: noted(1, 'NEW.'),
        DELETE: noted(-1, 'OLD.'),
        UPDATE: `IF NOT (${same}) THEN ${noted(-1, 'OLD.')} ${noted(1, 'NEW.')} END IF;`,
      };
      for (const [event, body] of Object.entries(bodies)) {
        const when = `AFTER ${event} ON ${table} FOR EACH ROW`;
        await connection.query(`CREATE TRIGGER ${table}_${event.toLowerCase()} ${when} BEGIN ${body} END`);
      }
    }
    return log;
  }

  /** Runs `work` as one transaction; it is rolled back if `work` gives false, or fails. */
  transaction(connection, work) {
    return this.numbered(connection, async () => {
      await connection.query('START TRANSACTION');
      try {
        const keeps = (await work()) !== false;
        await connection.query(keeps ? 'COMMIT' : 'ROLLBACK');
      } catch (error) {
        await connection.query('ROLLBACK');
        throw error;
      }
    });
  }

  /** The same where `work` begins and ends its one transaction itself. Nobody can write without a number. */
  async numbered(connection, work) {
    const number = this.#next++;
    const done = this.#numbered(connection, number, work);
    this.#open.add(done);
    try {
      await done;
    } finally {
      this.#open.delete(done);
    }
  }

  async #numbered(connection, number, work) {
    await connection.query('SET @tx = ?', [number]);
    await work();
    const [[{ position }]] = await connection.query('SELECT @@last_gtid AS position');
    // One that was rolled back, or changed nothing, is noted where the last one was: it has no rows.
    const sequence = sequenceOf(position);
    const at = this.#commits.findLastIndex(([before]) => before <= sequence) + 1;
    this.#commits.splice(at, 0, [sequence, number]);
  }

  /** Before a table is truncated, which no trigger tells: its rows go by the present transaction. */
  async emptied(connection, table) {
    await connection.query(
      `INSERT INTO ${LOG} (tx, weight, image)
       SELECT @tx, -1, ${imageOf(table, TABLES[table], '')} FROM ${table}`,
    );
  }

  /** Until it is known of every transaction that has begun by now where it was committed. */
  async known() {
    await Promise.allSettled([...this.#open]);
  }

  /** The row images between two positions, each `{ weight, image }`, as often as there are. */
  async between(from, to) {
    const [first, end] = [from, to].map((position) => {
      const sequence = sequenceOf(position);
      return this.#commits.findLastIndex(([before]) => before <= sequence) + 1;
    });
    if (first === end) return [];
    const numbers = this.#commits.slice(first, end).map(([, number]) => number);
    const among = new Set(numbers);
    const [least, most] = [
      numbers.reduce((a, b) => Math.min(a, b)),
      numbers.reduce((a, b) => Math.max(a, b)),
    ];
    const [rows] = await this.#connection.query(
      `SELECT tx, weight, image FROM ${LOG} WHERE tx BETWEEN ? AND ?`,
      [least, most],
    );
    return rows.filter(({ tx }) => among.has(Number(tx)));
  }

  /** Where the tables are not what the log of their changes adds up to: then the run itself is wrong. */
  async problems() {
    const now = Object.entries(TABLES).map(
      ([table, columns]) => `SELECT ${imageOf(table, columns, '')} AS image, -1 AS weight FROM ${table}`,
    );
    const [rows] = await this.#connection.query(
      `SELECT image, SUM(weight) AS sum FROM
       (SELECT image, weight FROM ${LOG} UNION ALL ${now.join(' UNION ALL ')}) AS every
       GROUP BY image HAVING SUM(weight) <> 0`,
    );
    return rows.map(({ image, sum }) => `${image}: ${sum} too many in the log of the source's changes`);
  }
}

/** As {@link imageOfRow} writes it. */
const imageOf = (table, columns, row) =>
  `CONCAT_WS(' ', '${table}', ${columns.map((column) => `IFNULL(${row}${column}, 'null')`).join(', ')})`;

/** A row's table and values as one text. */
export const imageOfRow = (table, row) =>
  [table, ...TABLES[table].map((column) => String(row[column]))].join(' ');

/** Positions are of one domain and one server. Before the first transaction it is the empty text. */
const sequenceOf = (position) => Number(position.split('-')[2] ?? 0);
