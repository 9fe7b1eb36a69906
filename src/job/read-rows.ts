/** Reads the result of a contribution query and refuses what cannot be merged exactly. */
import { TidemarkError } from '../base/index.ts';
import { parseColumnType, type ResultSet, type SqlValue } from '../sql/index.ts';
import type { ContributionQuery, OutputColumn } from './contribution-queries.ts';

/** From here on a real number stands for an integer sum that has overflowed. */
const INT64_SPAN = 2 ** 63;

/**
 * Returns the rows of a contribution, checked: no key is NULL, and on the embedded engine, whose columns
 * have no
 * type of their own, an integer is an integer.
 * @throws TidemarkError `KEY_NULL`, `MEASURE_TYPE`, `VALUE_RANGE`; all deterministic, so the task is DEAD.
 */
export function readRows(query: ContributionQuery, result: ResultSet): readonly (readonly SqlValue[])[] {
  for (const row of result.rows) {
    query.columns.forEach((column, at) => {
      checkValue(query.report, column, row[at] ?? null);
    });
  }
  return result.rows;
}

function checkValue(report: string, column: OutputColumn, value: SqlValue): void {
  if (value === null) {
    if (column.role !== 'key') return;
    throw new TidemarkError('KEY_NULL', `report ${report}: key ${column.label} is NULL`, {
      next: 'Give it a value in the SQL: COALESCE(x, ...).',
    });
  }
  if (typeof value === 'bigint' || !isInteger(column)) return;
  if (typeof value === 'number') {
    if (column.role === 'sum' && Math.abs(value) >= INT64_SPAN) {
      throw new TidemarkError(
        'VALUE_RANGE',
        `report ${report}: the sum ${column.label} does not fit 64 bits`,
      );
    }
    throw inexact(report, column, 'a real number');
  }
  // MySQL sends sums of integers as DECIMAL, as text; anything else that is text here is no integer.
  if (column.role === 'sum' && typeof value === 'string' && /^-?\d+$/.test(value)) return;
  throw inexact(report, column, 'text');
}

function isInteger(column: OutputColumn): boolean {
  const { kind } = parseColumnType(column.type);
  return kind === 'BIGINT' || kind === 'BOOL';
}

function inexact(report: string, column: OutputColumn, what: string): TidemarkError {
  return new TidemarkError(
    'MEASURE_TYPE',
    `report ${report}: ${column.label} is declared ${column.type}, the SQL gives ${what}`,
    { next: `Write CAST(${column.label} AS SIGNED) in the SQL, or integer arithmetic.` },
  );
}
