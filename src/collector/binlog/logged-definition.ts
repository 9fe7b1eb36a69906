/**
 * What a table was when rows of it were logged. The definition that the source shows now may be that of a
 * later statement, whose rows look different; the log itself has names and types of the columns it holds.
 */
import { isTidemarkError } from '../../base/index.ts';
import type { CapturedTable, ColumnSpec } from '../../job/index.ts';
import { checkTableMap, isLoggedAs } from './binlog-rows.ts';
import { columnOf } from '../schema/inspect-mysql.ts';
import type { LoggedColumn } from './logged-column.ts';

/** Of TEXT and BLOB the log does not tell the length; what is captured holds the longest. */
const LENGTH_UNTOLD = '65535';

/**
 * Makes the definition of a table map, in the words of the present definition or of the one before wherever
 * a column is logged as they say. Answers the present one where it is right, or the log does not tell enough:
 * its rows are refused then.
 */
export function loggedDefinition(
  before: CapturedTable,
  now: CapturedTable,
  logged: readonly LoggedColumn[],
): CapturedTable {
  if (isAsLogged(now, logged)) return now;
  const columns = logged.map(
    (column) => known(column, now) ?? known(column, before) ?? told(column, before, now),
  );
  if (!columns.every((column) => column !== undefined)) return now;
  const then = { ...now, columns };
  return isAsLogged(then, logged) ? then : now;
}

function isAsLogged(table: CapturedTable, logged: readonly LoggedColumn[]): boolean {
  try {
    checkTableMap(table, logged);
    return true;
  } catch (error) {
    if (isTidemarkError(error, 'SCHEMA_CHANGED')) return false;
    throw error;
  }
}

function known(logged: LoggedColumn, { columns }: CapturedTable): ColumnSpec | undefined {
  return columns.find((column) => column.name === logged.name && isLoggedAs(column, logged));
}

/** The log does not tell whether a column may be NULL: then it may, unless both definitions deny it. */
function told(logged: LoggedColumn, before: CapturedTable, now: CapturedTable): ColumnSpec | undefined {
  if (logged.declared === undefined) return undefined;
  const [type = '', first, second] = /^(\w+)(?:\((\d+)(?:,(\d+))?\))?/.exec(logged.declared)?.slice(1) ?? [];
  const same = [before, now].flatMap(({ columns }) => columns.filter(({ name }) => name === logged.name));
  const said: readonly (readonly [string, string | null | undefined])[] = [
    ['COLUMN_NAME', logged.name],
    ['DATA_TYPE', type],
    ['COLUMN_TYPE', logged.declared],
    ['CHARACTER_SET_NAME', logged.charset],
    ['CHARACTER_MAXIMUM_LENGTH', first ?? LENGTH_UNTOLD],
    ['NUMERIC_PRECISION', first],
    ['NUMERIC_SCALE', second],
    ['DATETIME_PRECISION', first],
    ['IS_NULLABLE', same.length > 0 && same.every(({ nullable }) => !nullable) ? 'NO' : 'YES'],
  ];
  const given = said.flatMap(([name, value]) => (typeof value === 'string' ? [[name, value] as const] : []));
  try {
    return columnOf(now.table, new Map(given));
  } catch (error) {
    if (isTidemarkError(error, 'COLUMN_TYPE')) return undefined;
    throw error;
  }
}
