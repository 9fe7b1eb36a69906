// What must hold at the end: every cell as plain SQL over the source says, each change row in exactly one
// sealed window, row states as the tables are. Shares no code with collector, job or merge (evidence rule 2).
import mysql from 'mysql2/promise';
import { REPORTS, TABLES } from './job.mjs';

const DETAILS_MAX = 8;
/** Windows whose rows can still be taken back. */
const RECENT_MAX = 200;
const OPEN = '9007199254740991';
/** Variances are made of other intermediate numbers by the server; everything else is exact. */
const TOLERANCE = 1e-9;

async function connected(uri, work) {
  const connection = await mysql.createConnection({ uri, supportBigNumbers: true, bigNumberStrings: true });
  try {
    return await work(async (sql, values) => (await connection.query(sql, values))[0]);
  } finally {
    connection.destroy();
  }
}

const same = (kind, found, expected) =>
  kind === 'variance' && found !== null && expected !== null
    ? Math.abs(Number(found) - Number(expected)) <= TOLERANCE * (1 + Math.abs(Number(expected)))
    : String(found) === String(expected);

/** Every report of the job as it is now. `empty` are those without rows: nothing was compared there. */
export async function compareCells({ source, reports, definitions = REPORTS }) {
  const result = { cells: 0, wrong: [], empty: [] };
  for (const [name, report] of Object.entries(definitions)) {
    const expected = await connected(source, (query) => query(report.oracle));
    const actual = await connected(reports, (query) => query(`SELECT * FROM ${name}`));
    if (expected.length === 0) result.empty.push(name);
    compareReport({ name, report, expected, actual }, result);
  }
  return result;
}

function compareReport({ name, report, expected, actual }, result) {
  const keyOf = (row) =>
    Object.keys(report.keys)
      .map((key) => String(row[key]))
      .join('|');
  const left = new Map(actual.map((row) => [keyOf(row), row]));
  if (left.size < actual.length) result.wrong.push(`${name}: a key occurs twice`);
  for (const row of expected) {
    const key = keyOf(row);
    const found = left.get(key);
    left.delete(key);
    for (const [cell, { kind }] of Object.entries(report.measures)) {
      result.cells += 1;
      if (found !== undefined && same(kind, found[cell], row[cell])) continue;
      result.wrong.push(`${name} ${key} ${cell}: ${String(found?.[cell])}, not ${String(row[cell])}`);
    }
  }
  for (const key of left.keys()) result.wrong.push(`${name} ${key}: a row too many`);
}

/**
 * Adds up what was sealed while the run goes on (old windows are dropped): over all windows the weights of
 * each row of a table must give exactly the table.
 */
export class ChangeSums {
  #sourceId;
  #left = new Map();
  #counted = new Set();
  #sums = new Map();
  #recent = new Map();
  rows = 0;

  constructor(sourceId) {
    this.#sourceId = sourceId;
  }

  /**
   * Takes the rows of windows that it has not taken yet, as far as all of them are in the stores.
   * @param windows number, epoch and number of rows of each window, as sealed
   * @param stores URL of each shard's primary
   */
  async take(windows, stores) {
    const news = windows.filter(({ window }) => !this.#counted.has(window));
    if (news.length === 0) return;
    const found = new Map(news.map(({ window }) => [Number(window), []]));
    for (const store of stores) {
      await connected(store, async (query) => {
        for (const table of Object.keys(TABLES)) await this.#read({ query, table, news, found });
      });
    }
    for (const { window, rows } of news) {
      const changes = found.get(Number(window));
      if (changes.length !== Number(rows)) {
        this.#left.set(window, `window ${window}: ${changes.length} change rows, sealed as ${rows}`);
        continue;
      }
      this.#left.delete(window);
      this.#counted.add(window);
      this.rows += changes.length;
      for (const { key, weight } of changes) this.#add(key, weight);
      this.#recent.set(window, changes);
      if (this.#recent.size > RECENT_MAX) this.#recent.delete(this.#recent.keys().next().value);
    }
  }

  /** Takes back what it took of later windows: the cluster does not know of them any more. */
  forgetAbove(last) {
    for (const window of [...this.#counted].filter((one) => one > last)) {
      const changes = this.#recent.get(window);
      if (changes === undefined) throw new Error(`window ${window} is too old to be forgotten`);
      for (const { key, weight } of changes) this.#add(key, -weight);
      this.rows -= changes.length;
      this.#recent.delete(window);
      this.#counted.delete(window);
    }
    for (const window of [...this.#left.keys()]) if (window > last) this.#left.delete(window);
  }

  /** What is wrong, after everything was taken. */
  async compare(source) {
    await connected(source, async (query) => {
      for (const table of Object.keys(TABLES)) {
        for (const row of await query(`SELECT ${TABLES[table]} FROM ${table}`)) {
          this.#add(keyOf(table, row), -1);
        }
      }
    });
    const wrong = [...this.#sums].filter(([, sum]) => sum !== 0);
    return [...this.#left.values(), ...wrong.map(([key, sum]) => `${key}: ${sum} too many in windows`)];
  }

  /** From the change tables of every schema version, the columns that were there at the start. */
  async #read({ query, table, news, found }) {
    const sealed = news.map(({ epoch, window }) => `(${epoch}, ${window})`).join(', ');
    for (const changes of await tablesLike(query, `tm_change_${this.#sourceId}_${table}_v`)) {
      const rows = await query(
        `SELECT _window, _w, ${TABLES[table]} FROM ${changes}
         WHERE _source = ? AND (_epoch, _window) IN (${sealed})`,
        [String(this.#sourceId)],
      );
      for (const row of rows) {
        found.get(Number(row._window)).push({ key: keyOf(table, row), weight: Number(row._w) });
      }
    }
  }

  #add(key, weight) {
    const sum = (this.#sums.get(key) ?? 0) + weight;
    if (sum === 0) this.#sums.delete(key);
    else this.#sums.set(key, sum);
  }
}

/** Whether the open row versions of all shards are the rows of the tables. */
export async function compareStates({ source, stores, sourceId }) {
  const sums = new Map();
  const add = (key, weight) => sums.set(key, (sums.get(key) ?? 0) + weight);
  for (const store of stores) {
    await connected(store, async (query) => {
      for (const table of Object.keys(TABLES)) {
        for (const states of await tablesLike(query, `tm_state_${sourceId}_${table}_v`)) {
          const rows = await query(`SELECT ${TABLES[table]} FROM ${states} WHERE _to = ${OPEN}`);
          for (const row of rows) add(keyOf(table, row), 1);
        }
      }
    });
  }
  const rows = sums.size;
  await connected(source, async (query) => {
    for (const table of Object.keys(TABLES)) {
      for (const row of await query(`SELECT ${TABLES[table]} FROM ${table}`)) add(keyOf(table, row), -1);
    }
  });
  const wrong = [...sums].filter(([, sum]) => sum !== 0);
  return { rows, wrong: wrong.map(([key, sum]) => `${key}: ${sum} too many open row versions`) };
}

const keyOf = (table, row) => [table, ...TABLES[table].map((column) => String(row[column]))].join(' ');

async function tablesLike(query, prefix) {
  const rows = await query('SHOW TABLES LIKE ?', [`${prefix.replaceAll('_', '\\_')}%`]);
  return rows.map((row) => Object.values(row)[0]);
}

export const shown = (lines) => lines.slice(0, DETAILS_MAX);
