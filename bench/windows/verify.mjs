// Compares every cell of every report with plain SQL over the source's tables.
import mysql from 'mysql2/promise';

const DETAILS_MAX = 5;

export async function verify({ source, sink, reports }) {
  const from = await mysql.createConnection({ uri: source, supportBigNumbers: true, bigNumberStrings: true });
  const to = await mysql.createConnection({ uri: sink, supportBigNumbers: true, bigNumberStrings: true });
  let cells = 0;
  const wrong = [];
  for (const [name, report] of Object.entries(reports)) {
    const keys = Object.keys(report.keys);
    const cellNames = Object.keys(report.measures);
    const [expected] = await from.query(report.oracle);
    const [actual] = await to.query(`SELECT * FROM ${name}`);
    const keyOf = (row) => keys.map((key) => String(row[key])).join('|');
    const left = new Map(actual.map((row) => [keyOf(row), row]));
    for (const row of expected) {
      const found = left.get(keyOf(row));
      left.delete(keyOf(row));
      for (const cell of cellNames) {
        cells += 1;
        if (found === undefined || text(found[cell]) !== text(row[cell])) {
          wrong.push(`${name} ${keyOf(row)} ${cell}: ${text(found?.[cell])}, not ${text(row[cell])}`);
        }
      }
    }
    for (const key of left.keys()) wrong.push(`${name} ${key}: a row too many`);
    if (expected.length === 0) wrong.push(`${name}: nothing to compare`);
  }
  await from.end();
  await to.end();
  return { cells, wrong: wrong.length, details: wrong.slice(0, DETAILS_MAX) };
}

/** Numbers without the zeros that only a type adds: an average has as many digits as its divisor gives. */
function text(value) {
  if (value === null || value === undefined) return 'NULL';
  const written = String(value);
  return /^-?\d+\.\d+$/.test(written) ? String(Math.round(Number(written) * 1e4) / 1e4) : written;
}
