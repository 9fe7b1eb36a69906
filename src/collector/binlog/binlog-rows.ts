/**
 * Checks row events, and makes the reader of a table's row images. A row event has no column names of its
 * own: it is trusted only after its table map has been compared with the captured columns, and only with
 * full row images.
 */
import { DECLARE_AGAIN, TidemarkError } from '../../base/index.ts';
import { parseColumnType, type DeclaredType, type SqlValue } from '../../sql/index.ts';
import type { CapturedTable, ColumnSpec } from '../../job/index.ts';
import type { RowValues } from '../change-source.ts';
import { LOGGED_TYPE, type LoggedColumn } from './logged-column.ts';
import { fieldReader, type ImageCursor } from './row-fields.ts';

const INTEGERS = {
  1: LOGGED_TYPE.tiny,
  2: LOGGED_TYPE.short,
  3: LOGGED_TYPE.int24,
  4: LOGGED_TYPE.long,
  8: LOGGED_TYPE.longlong,
} as const;
const STRINGS: readonly number[] = [LOGGED_TYPE.varchar, LOGGED_TYPE.string, LOGGED_TYPE.blob];
const MOMENTS: readonly number[] = [LOGGED_TYPE.datetime2, LOGGED_TYPE.timestamp2];

/**
 * Compares a table map with what is captured.
 * @throws TidemarkError `SCHEMA_CHANGED` naming the first difference.
 */
export function checkTableMap(table: CapturedTable, logged: readonly LoggedColumn[]): void {
  if (logged.length !== table.columns.length) {
    throw schemaChanged(table.table, `it has ${logged.length} columns, ${table.columns.length} are captured`);
  }
  for (const [at, column] of table.columns.entries()) {
    const found = logged[at];
    if (found?.name !== column.name) {
      throw schemaChanged(table.table, `column ${at + 1} is ${found?.name ?? 'missing'}, not ${column.name}`);
    }
    if (!isLoggedAs(column, found)) {
      throw schemaChanged(table.table, `column ${column.name} is not ${column.type} any more`);
    }
  }
}

/** What leads out of a log without column names. */
export const NAME_COLUMNS = `SET GLOBAL binlog_row_metadata = FULL. ${DECLARE_AGAIN}`;

export function schemaChanged(table: string, detail: string, next = DECLARE_AGAIN): TidemarkError {
  return new TidemarkError('SCHEMA_CHANGED', `captured table ${table} was altered: ${detail}`, { next });
}

/** Whether images of what the log shows are read as this column, name aside. */
export function isLoggedAs(column: ColumnSpec, logged: LoggedColumn): boolean {
  return fits(parseColumnType(column.type), logged);
}

function fits(type: DeclaredType, logged: LoggedColumn): boolean {
  const says = (name: string, wanted: number): boolean => logged.metadata?.[name] === wanted;
  switch (type.kind) {
    case 'BIGINT':
      return logged.type === INTEGERS[type.bytes] && (logged.unsigned ?? type.unsigned) === type.unsigned;
    case 'DECIMAL':
      return (
        logged.type === LOGGED_TYPE.newDecimal &&
        says('precision', type.precision) &&
        says('decimals', type.scale)
      );
    case 'FLOAT':
      return logged.type === LOGGED_TYPE.float;
    case 'DOUBLE':
      return logged.type === LOGGED_TYPE.double;
    case 'YEAR':
      return logged.type === LOGGED_TYPE.year;
    case 'BIT':
      return logged.type === LOGGED_TYPE.bit && says('bits', type.bits);
    case 'DATE':
      return logged.type === LOGGED_TYPE.date;
    case 'DATETIME':
    case 'TIMESTAMP':
      return MOMENTS.includes(logged.type) && says('decimals', type.digits);
    case 'TIME':
      return logged.type === LOGGED_TYPE.time2 && says('decimals', type.digits);
    case 'ENUM':
    case 'SET':
      return (
        logged.type === LOGGED_TYPE[type.kind === 'ENUM' ? 'enumeration' : 'set'] &&
        JSON.stringify(logged.members ?? type.members) === JSON.stringify(type.members)
      );
    case 'TEXT':
      return STRINGS.includes(logged.type) && logged.charset !== null;
    case 'BYTES':
      return STRINGS.includes(logged.type) && logged.charset === null;
    default:
      return false;
  }
}

/** Reads one row image, whose null bits come first. */
export type ImageReader = (cursor: ImageCursor) => RowValues;

/** Makes the reader of one table's full row images, which {@link checkTableMap} has let pass. */
export function imageReader(table: CapturedTable, logged: readonly LoggedColumn[]): ImageReader {
  const readers = table.columns.map((column, at) =>
    fieldReader(table.table, column, logged[at] ?? { name: column.name, charset: null, type: -1 }),
  );
  const nullBytes = Math.ceil(readers.length / 8);
  return (cursor) => {
    const nulls = cursor.at;
    cursor.at += nullBytes;
    const { bytes } = cursor;
    return readers.map((read, at): SqlValue =>
      ((bytes[nulls + (at >> 3)] ?? 0) & (1 << (at & 7))) === 0 ? read(cursor) : null,
    );
  };
}

/**
 * Checks that a row event holds every column.
 * @throws TidemarkError `SOURCE_UNTELLABLE` for a partial image: a column that is left out looks like NULL.
 */
export function checkFullImage(table: CapturedTable, columns: number, bitmaps: readonly Uint8Array[]): void {
  for (const bitmap of bitmaps) {
    for (let at = 0; at < columns; at += 1) {
      if (((bitmap[at >> 3] ?? 0) & (1 << (at & 7))) !== 0) continue;
      throw new TidemarkError(
        'SOURCE_UNTELLABLE',
        `a change of ${table.table} was logged without all columns`,
        {
          next: `Set binlog_row_image = FULL for every session. ${DECLARE_AGAIN}`,
        },
      );
    }
  }
}
