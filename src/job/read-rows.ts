/** Reads the result of a contribution query and refuses what cannot be merged exactly. */
import { mutated, TidemarkError } from '../base/index.ts';
import { parseColumnType, type ResultSet, type SqlValue } from '../sql/index.ts';
import type { ContributionQuery, OutputColumn } from './contribution-queries.ts';

/** From here on a real number stands for an integer sum that has overflowed. */
const INT64_SPAN = 2 ** 63;
/** Sums of weights are added as real numbers on MySQL, which are exact up to here. */
const EXACT_MAX = 2n ** 53n;
/** Characters of a key that an error tells. */
const SHOWN_MAX = 40;

/**
 * Returns the rows of a contribution, checked: no key and no weight is NULL, and on the embedded engine,
 * whose columns have no type of their own, an integer is an integer. Of cells each key has one row.
 * @throws TidemarkError `KEY_NULL`, `KEY_TWICE`, `MEASURE_TYPE`, `VALUE_RANGE`; all deterministic, so the
 * task is DEAD.
 */
export function readRows(query: ContributionQuery, result: ResultSet): readonly (readonly SqlValue[])[] {
  const rows = query.keysOnce === true ? result.rows.filter((row) => !isOfNull(query, row)) : result.rows;
  for (const row of rows) {
    for (const [at, column] of query.columns.entries()) {
      const problem = problemOf(column, row[at] ?? null);
      if (problem !== undefined) throw withRow(problem, query, row);
    }
  }
  return query.keysOnce === true ? cellsAndTombstones(query, rows) : rows;
}

/** Whether a key that a span touched has NULL in it: to be known is then whether it has a row. */
export function touchesNull(query: ContributionQuery, { rows }: ResultSet): boolean {
  return query.keysOnce === true && rows.some((row) => isOfNull(query, row));
}

const keysIn = ({ columns }: ContributionQuery): number =>
  columns.filter(({ role }) => role === 'key').length;

/** A tombstone whose key has NULL in it. */
function isOfNull(query: ContributionQuery, row: readonly SqlValue[]): boolean {
  const keys = keysIn(query);
  return row[keys] === 0n && row.slice(0, keys).includes(null);
}

/** Every touched key comes as a tombstone; it is none if the key has cells. */
function cellsAndTombstones(query: ContributionQuery, rows: ResultSet['rows']): ResultSet['rows'] {
  const keys = keysIn(query);
  const keyOf = (row: readonly SqlValue[]): string => row.slice(0, keys).map(bytesOf).join(' ');
  const seen = new Set<string>();
  const cells = rows.filter((row) => row[keys] !== 0n);
  for (const row of cells) {
    const key = keyOf(row);
    if (!seen.has(key)) seen.add(key);
    else
      throw withRow(
        new TidemarkError('KEY_TWICE', 'the SQL gives two rows', { next: KEY_TWICE_NEXT }),
        query,
        row,
      );
  }
  if (mutated('job.vanishedKeysStay')) return cells;
  return [...cells, ...rows.filter((row) => row[keys] === 0n && !seen.has(keyOf(row)))];
}

const KEY_TWICE_NEXT = 'Group the rows by the keys, or declare what tells them apart as a key too.';

const bytesOf = (value: SqlValue): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value);

function problemOf(column: OutputColumn, value: SqlValue): TidemarkError | undefined {
  if (value === null) {
    if (column.role === 'weight') {
      return new TidemarkError('MEASURE_TYPE', `all weights of ${column.label} are NULL`, {
        next: "Return the product of the inputs' _w as _w, in every row.",
      });
    }
    if (column.role !== 'key') return undefined;
    return new TidemarkError('KEY_NULL', `key ${column.label} is NULL`, {
      next: 'Give it a value in the SQL: COALESCE(x, ...).',
    });
  }
  if (column.role === 'weight' && typeof value === 'bigint' && beyondExact(value)) {
    return new TidemarkError('VALUE_RANGE', `the sum of weights of ${column.label} is not exact`, {
      next: "Return the product of the inputs' _w as _w, and multiply measures instead.",
    });
  }
  if (typeof value === 'bigint' || !isInteger(column)) return undefined;
  if (typeof value === 'number') {
    if (column.role === 'sum' && Math.abs(value) >= INT64_SPAN) {
      return new TidemarkError('VALUE_RANGE', `the sum ${column.label} does not fit 64 bits`);
    }
    return inexact(column, 'a real number');
  }
  // MySQL sends sums of integers as DECIMAL, as text; anything else that is text here is no integer.
  if (column.role === 'sum' && typeof value === 'string' && /^-?\d+$/.test(value)) return undefined;
  return inexact(column, 'text');
}

const beyondExact = (sum: bigint): boolean =>
  (sum >= EXACT_MAX || sum <= -EXACT_MAX) && !mutated('job.weightsRounded');

function isInteger(column: OutputColumn): boolean {
  const { kind } = parseColumnType(column.type);
  return kind === 'BIGINT' || kind === 'BOOL';
}

function inexact(column: OutputColumn, what: string): TidemarkError {
  return new TidemarkError(
    'MEASURE_TYPE',
    `${column.label} is declared ${column.type}, the SQL gives ${what}`,
    { next: `Write CAST(${column.label} AS SIGNED) in the SQL, or integer arithmetic.` },
  );
}

/** Names the row of the report by its keys, or what there is of them. */
function withRow(problem: TidemarkError, query: ContributionQuery, row: readonly SqlValue[]): TidemarkError {
  const keys = query.columns.flatMap(({ role, label }, at) =>
    role === 'key' ? [`${label} = ${shown(row[at] ?? null)}`] : [],
  );
  const { code, message, next } = problem;
  return new TidemarkError(
    code,
    `${message}, in the row of ${keys.join(', ')}`,
    next === undefined ? {} : { next },
  );
}

/** Text keys come as bytes. */
function shown(value: SqlValue): string {
  const text = value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value ?? 'NULL');
  return text.slice(0, SHOWN_MAX);
}
