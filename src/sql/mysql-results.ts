/** Turns what mysql2 read into exact values: integers as bigint, the rest as the contract says. */
import mysql, { type FieldPacket, type QueryResult } from 'mysql2';
import { TidemarkError } from '../base/index.ts';
import type { ResultColumn, ResultSet, SqlValue } from './engine.ts';

// mysql2 is CommonJS, whose names Node cannot import one by one.
const { Types } = mysql;

/** Character set number of binary strings (information_schema.collations, id of `binary`). */
const BINARY = 63;

/** UNSIGNED_FLAG of the protocol's column definition. */
const UNSIGNED_FLAG = 32;

/** MariaDB tells JSON columns apart by metadata of its own, which mysql2 hands on. */
interface Field {
  readonly name: string;
  readonly columnType?: number;
  readonly characterSet?: number;
  readonly extendedFormat?: string;
  /** A number, or the flags' names for results of some statements. */
  readonly flags?: unknown;
}

/**
 * Reads the results of a text of one statement or several: of several mysql2 lists results and fields.
 * @throws TidemarkError as {@link readResult}.
 */
export function readResults(result: QueryResult, fields: unknown, rowsMax: number): ResultSet[] {
  const isList = Array.isArray(result) && Array.isArray(fields) && fields.some((of) => !isField(of));
  if (!isList) return [readResult(result, fields as FieldPacket[] | undefined, rowsMax)];
  return result.map((one, at) =>
    readResult(one as QueryResult, fields[at] as FieldPacket[] | undefined, rowsMax),
  );
}

/** Of a statement without rows there is nothing in the place of its fields. */
function isField(of: unknown): boolean {
  return of !== undefined && !Array.isArray(of);
}

/** @throws TidemarkError `DB_FAILED` for more than `rowsMax` rows. */
export function readResult(
  result: QueryResult,
  fields: readonly FieldPacket[] | undefined,
  rowsMax: number,
): ResultSet {
  if (!Array.isArray(result)) return { columns: [], rows: [], changes: result.affectedRows };
  const rows = result as unknown as unknown[][];
  if (rows.length > rowsMax) throw new TidemarkError('DB_FAILED', `the result has more than ${rowsMax} rows`);
  const columns = (fields ?? []).map((field) => resultColumn(field as unknown as Field));
  return { columns, rows: rows.map((row) => exact(row, columns)), changes: 0 };
}

function exact(row: readonly unknown[], columns: readonly ResultColumn[]): SqlValue[] {
  return row.map((value, at) => {
    if (value === null || value === undefined) return null;
    if (columns[at]?.type === 'integer') return BigInt(value as string | number);
    return value as SqlValue;
  });
}

function resultColumn(field: Field): ResultColumn {
  const type = typeOf(field);
  const unsigned64 =
    field.columnType === Types.LONGLONG && ((Number(field.flags) || 0) & UNSIGNED_FLAG) !== 0;
  return unsigned64 ? { name: field.name, type, unsigned64 } : { name: field.name, type };
}

function typeOf(field: Field): ResultColumn['type'] {
  const { columnType } = field;
  if (field.extendedFormat === 'json') return 'json';
  if (columnType === undefined) return 'unknown';
  if (INTEGERS.has(columnType)) return 'integer';
  if (columnType === Types.DECIMAL || columnType === Types.NEWDECIMAL) return 'decimal';
  if (columnType === Types.FLOAT || columnType === Types.DOUBLE) return 'float';
  if (TEMPORAL.has(columnType)) return 'temporal';
  if (columnType === Types.JSON) return 'json';
  if (columnType === Types.NULL) return 'unknown';
  return field.characterSet === BINARY ? 'binary' : 'text';
}

const INTEGERS: ReadonlySet<number> = new Set([
  Types.TINY,
  Types.SHORT,
  Types.LONG,
  Types.INT24,
  Types.LONGLONG,
  Types.YEAR,
]);

const TEMPORAL: ReadonlySet<number> = new Set([
  Types.DATE,
  Types.DATETIME,
  Types.TIMESTAMP,
  Types.TIME,
  Types.NEWDATE,
]);
