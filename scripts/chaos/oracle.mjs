// What must hold whenever all is merged: every cell as plain SQL over the source says, row states as the
// tables are. Shares no code with collector, job or merge (evidence rule 2).
import { connected, tablesLike } from './databases.mjs';
import { REPORTS, TABLES } from './job.mjs';
import { imageOfRow } from './source-log.mjs';

const DETAILS_MAX = 8;
const OPEN = '9007199254740991';
/** Variances are made of other intermediate numbers by the server; everything else is exact. */
const TOLERANCE = 1e-9;

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

/** Whether the open row versions of all shards are the rows of the tables. */
export async function compareStates({ source, stores, sourceId }) {
  const sums = new Map();
  const add = (key, weight) => sums.set(key, (sums.get(key) ?? 0) + weight);
  for (const store of stores) {
    await connected(store, async (query) => {
      for (const table of Object.keys(TABLES)) {
        for (const states of await tablesLike(query, `tm_state_${sourceId}_${table}_v`)) {
          const rows = await query(`SELECT ${TABLES[table]} FROM ${states} WHERE _to = ${OPEN}`);
          for (const row of rows) add(imageOfRow(table, row), 1);
        }
      }
    });
  }
  const rows = sums.size;
  await connected(source, async (query) => {
    for (const table of Object.keys(TABLES)) {
      for (const row of await query(`SELECT ${TABLES[table]} FROM ${table}`)) add(imageOfRow(table, row), -1);
    }
  });
  const wrong = [...sums].filter(([, sum]) => sum !== 0);
  return { rows, wrong: wrong.map(([key, sum]) => `${key}: ${sum} too many open row versions`) };
}

export const shown = (lines) => lines.slice(0, DETAILS_MAX);
