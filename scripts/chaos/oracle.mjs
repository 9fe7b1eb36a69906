// What must hold at the end: every cell as plain SQL over the source says, and each change row in exactly one
// sealed window. Shares no code with collector, job or merge (evidence rule 2).
import mysql from 'mysql2/promise';
import { REPORTS, TABLES } from './job.mjs';

const DETAILS_MAX = 8;
const options = (uri) => ({ uri, supportBigNumbers: true, bigNumberStrings: true });

export async function compareCells({ source, reports }) {
  const from = await mysql.createConnection(options(source));
  const to = await mysql.createConnection(options(reports));
  let cells = 0;
  const wrong = [];
  const empty = [];
  for (const [name, report] of Object.entries(REPORTS)) {
    const keyOf = (row) => Object.keys(report.keys).map((key) => String(row[key]));
    const [expected] = await from.query(report.oracle);
    const [actual] = await to.query(`SELECT * FROM ${name}`);
    if (expected.length === 0) empty.push(name);
    const left = new Map(actual.map((row) => [keyOf(row).join('|'), row]));
    if (left.size < actual.length) wrong.push(`${name}: a key occurs twice`);
    for (const row of expected) {
      const key = keyOf(row).join('|');
      const found = left.get(key);
      left.delete(key);
      for (const cell of Object.keys(report.measures)) {
        cells += 1;
        if (found !== undefined && String(found[cell]) === String(row[cell])) continue;
        wrong.push(`${name} ${key} ${cell}: ${String(found?.[cell])}, not ${String(row[cell])}`);
      }
    }
    for (const key of left.keys()) wrong.push(`${name} ${key}: a row too many`);
  }
  await from.end();
  await to.end();
  return { cells, wrong, empty };
}

/**
 * Adds up what was sealed: over all sealed windows the weights of each row of a table must give exactly the
 * table. `windows` is what the cluster sealed: number, epoch.
 */
export async function compareChanges({ source, stores, windows, sourceId }) {
  const from = await mysql.createConnection(options(source));
  const wrong = [];
  let rows = 0;
  for (const table of TABLES) {
    const [columns] = await from.query(`SHOW COLUMNS FROM ${table}`);
    const names = columns.map(({ Field }) => Field);
    const sums = new Map();
    for (const store of stores) {
      const to = await mysql.createConnection(options(store));
      for (const { window, epoch } of windows) {
        const [found] = await to.query(
          `SELECT _w, ${names.join(', ')} FROM tm_change_${sourceId}_${table}_v1
           WHERE _source = ? AND _epoch = ? AND _window = ?`,
          [sourceId, String(epoch), Number(window)],
        );
        rows += found.length;
        for (const row of found) {
          const key = names.map((name) => String(row[name])).join('|');
          sums.set(key, (sums.get(key) ?? 0) + Number(row._w));
        }
      }
      await to.end();
    }
    const [base] = await from.query(`SELECT ${names.join(', ')} FROM ${table}`);
    for (const row of base) {
      const key = names.map((name) => String(row[name])).join('|');
      sums.set(key, (sums.get(key) ?? 0) - 1);
    }
    for (const [key, sum] of sums) if (sum !== 0) wrong.push(`${table} ${key}: ${sum} too many in windows`);
  }
  await from.end();
  return { rows, wrong };
}

export const shown = (lines) => lines.slice(0, DETAILS_MAX);
