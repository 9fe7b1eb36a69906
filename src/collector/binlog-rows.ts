/**
 * Checks and decodes row events. A row event has no column names of its own: it is trusted only after its
 * table map has been compared with the captured columns, and only with full row images.
 */
import { TidemarkError } from '../base/index.ts';
import { parseColumnType, type DeclaredType } from '../sql/index.ts';
import type { CapturedTable } from '../job/index.ts';
import type { RowValues } from './change-source.ts';
import { columnCodec } from './column-codec.ts';

/** A column as a table map event shows it; type codes are those of the MySQL protocol. */
export interface LoggedColumn {
  readonly name: string;
  readonly charset: string | null;
  readonly type: number;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

const TYPE = {
  tiny: 1,
  short: 2,
  long: 3,
  longlong: 8,
  int24: 9,
  date: 10,
  datetime: 12,
  timestamp: 7,
  varchar: 15,
  timestamp2: 17,
  datetime2: 18,
  newDecimal: 246,
  enumeration: 247,
  blob: 252,
  string: 254,
} as const;
const INTEGERS: readonly number[] = [TYPE.tiny, TYPE.short, TYPE.int24, TYPE.long, TYPE.longlong];
const STRINGS: readonly number[] = [TYPE.varchar, TYPE.string, TYPE.blob];
const DATETIMES: readonly number[] = [TYPE.datetime, TYPE.datetime2, TYPE.timestamp, TYPE.timestamp2];

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
    if (!fits(parseColumnType(column.type), found)) {
      throw schemaChanged(table.table, `column ${column.name} is not ${column.type} any more`);
    }
  }
}

export function schemaChanged(table: string, detail: string): TidemarkError {
  return new TidemarkError('SCHEMA_CHANGED', `captured table ${table} was altered: ${detail}`, {
    next: 'Declare the source anew, so that it begins with a new snapshot.',
  });
}

function fits(type: DeclaredType, logged: LoggedColumn): boolean {
  switch (type.kind) {
    case 'BIGINT':
    case 'BOOL':
      return INTEGERS.includes(logged.type);
    case 'DECIMAL':
      return (
        logged.type === TYPE.newDecimal &&
        logged.metadata?.['precision'] === type.precision &&
        logged.metadata['decimals'] === type.scale
      );
    case 'DATE':
      return logged.type === TYPE.date;
    case 'DATETIME':
    case 'TIMESTAMP':
      return DATETIMES.includes(logged.type);
    case 'TEXT':
      return logged.type === TYPE.enumeration || (STRINGS.includes(logged.type) && logged.charset !== null);
    case 'BYTES':
      return STRINGS.includes(logged.type) && logged.charset === null;
    default:
      return false;
  }
}

/** Stands where bytes had no character in the column's character set. */
const REPLACEMENT_CHARACTER = '\ufffd';
const EXACT_CHARSETS = new Set(['utf8', 'utf8mb3', 'utf8mb4']);

/** Makes the decoder of one table's row images, as an object by column name. */
export function imageDecoder(
  table: CapturedTable,
  logged: readonly LoggedColumn[],
): (image: Readonly<Record<string, unknown>>) => RowValues {
  const columns = table.columns.map((column, at) => {
    const charset = logged[at]?.charset ?? null;
    return {
      name: column.name,
      codec: columnCodec(table.table, column),
      lossy: charset !== null && !EXACT_CHARSETS.has(charset),
    };
  });
  return (image) =>
    columns.map(({ name, codec, lossy }) => {
      const value = image[name];
      if (lossy && typeof value === 'string' && value.includes(REPLACEMENT_CHARACTER)) {
        throw new TidemarkError(
          'VALUE_RANGE',
          `${table.table}.${name}: a text that its character set cannot say`,
        );
      }
      return codec(value);
    });
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
          next: 'Set binlog_row_image = FULL for every session, then declare the source anew.',
        },
      );
    }
  }
}
