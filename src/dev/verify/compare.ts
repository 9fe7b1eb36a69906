/** Compares what a report shows with what it must show, cell by cell. */
import type { ResultSet, SqlValue } from '../../sql/index.ts';

export interface WrongCell {
  readonly report: string;
  /** The row's key values, readable. */
  readonly key: string;
  /** The column, or `(row)` when the row is missing or should not be there. */
  readonly column: string;
  readonly expected: string;
  readonly actual: string;
}

export interface Comparison {
  /** Cells compared: every measure of every row that is on either side. */
  readonly cells: number;
  readonly rows: number;
  readonly wrong: readonly WrongCell[];
}

/** A result as rows of named values. Averages and variances of the expected side are given by their parts. */
type Row = ReadonlyMap<string, SqlValue>;

/**
 * Compares two results whose key columns are `keys`. Every column of the actual side but the keys is a
 * cell.
 */
export function compareReport(input: {
  readonly report: string;
  readonly keys: readonly string[];
  readonly expected: ResultSet;
  readonly actual: ResultSet;
}): Comparison {
  const wrong: WrongCell[] = [];
  const expected = byKey(input.expected, input.keys);
  const actual = byKey(input.actual, input.keys);
  const cells = input.actual.columns
    .map((column) => column.name)
    .filter((name) => !input.keys.includes(name));
  const note = (key: string, column: string, want: string, got: string): void => {
    wrong.push({ report: input.report, key, column, expected: want, actual: got });
  };
  for (const name of missingColumns(input.expected, cells, input.keys))
    note('', name, 'a column', 'no column');
  if (actual.size !== input.actual.rows.length) note('', '(row)', 'one row per key', 'a key twice');
  for (const [key, want] of expected) {
    const got = actual.get(key);
    if (got === undefined) {
      note(key, '(row)', 'a row', 'no row');
      continue;
    }
    for (const column of cells) {
      const value = got.get(column) ?? null;
      if (!cellEquals(want, column, value)) note(key, column, expectedText(want, column), text(value));
    }
  }
  for (const key of actual.keys()) if (!expected.has(key)) note(key, '(row)', 'no row', 'a row');
  const rows = new Set([...expected.keys(), ...actual.keys()]).size;
  return { cells: rows * cells.length, rows, wrong };
}

function byKey(result: ResultSet, keys: readonly string[]): Map<string, Row> {
  const names = result.columns.map((column) => column.name);
  const rows = new Map<string, Row>();
  for (const values of result.rows) {
    const row = new Map(names.map((name, index) => [name, values[index] ?? null]));
    rows.set(keys.map((key) => `${key}=${text(row.get(key) ?? null)}`).join(' '), row);
  }
  return rows;
}

function missingColumns(expected: ResultSet, cells: readonly string[], keys: readonly string[]): string[] {
  const wanted = expected.columns.map((column) => column.name.split(':')[0] ?? '');
  return [...new Set(wanted)].filter((name) => !keys.includes(name) && !cells.includes(name));
}

function cellEquals(want: Row, column: string, actual: SqlValue): boolean {
  const sum = want.get(`${column}:sum`);
  if (sum === undefined) {
    const expected = want.get(column) ?? null;
    // A text may read NULL.
    return (expected === null) === (actual === null) && text(expected) === text(actual);
  }
  const count = BigInt(text(want.get(`${column}:count`) ?? null));
  if (sum === null || count === 0n) return actual === null;
  const squares = want.get(`${column}:squares`);
  if (squares === undefined) return averageEquals(BigInt(text(sum)), count, actual);
  return varianceEquals({ sum: BigInt(text(sum)), squares: BigInt(text(squares ?? null)), count }, actual);
}

/**
 * A decimal must be the exact quotient rounded half away from zero at its own scale; a float the nearest
 * one.
 */
export function averageEquals(sum: bigint, count: bigint, actual: SqlValue): boolean {
  if (actual === null || actual instanceof Uint8Array) return false;
  if (typeof actual === 'bigint') return actual * count === sum;
  if (typeof actual === 'number') {
    const exact = Number(sum) / Number(count);
    return Math.abs(actual - exact) <= Math.abs(exact) * Number.EPSILON;
  }
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(actual);
  if (match === null) return false;
  const [, minus, whole, fraction = ''] = match;
  const scale = 10n ** BigInt(fraction.length);
  const found = BigInt(`${minus ?? ''}${whole ?? ''}${fraction}`);
  const magnitude = ((sum < 0n ? -sum : sum) * scale * 2n + count) / (count * 2n);
  return found === (sum < 0n ? -magnitude : magnitude);
}

/** The population variance as a float: within three roundings of the exact quotient. */
export function varianceEquals(
  { sum, squares, count }: { readonly sum: bigint; readonly squares: bigint; readonly count: bigint },
  actual: SqlValue,
): boolean {
  if (typeof actual !== 'number') return false;
  const exact = Number(count * squares - sum * sum) / Number(count * count);
  return Math.abs(actual - exact) <= 3 * Math.abs(exact) * Number.EPSILON;
}

function expectedText(want: Row, column: string): string {
  const sum = want.get(`${column}:sum`);
  if (sum === undefined) return text(want.get(column) ?? null);
  const squares = want.get(`${column}:squares`);
  const of = squares === undefined ? '' : ` (squares ${text(squares)})`;
  return `${text(sum)} / ${text(want.get(`${column}:count`) ?? null)}${of}`;
}

/** Integers come as bigint or, from SUM on MySQL, as a decimal string without fraction: the same text. */
function text(value: SqlValue): string {
  if (value === null) return 'NULL';
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
  return String(value);
}
