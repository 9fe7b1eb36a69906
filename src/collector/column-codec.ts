/**
 * Brings what a source delivers for a captured column into the one form that the store gets. Snapshot and
 * log go through the same codec: a row that was read and the same row that was logged must cancel out.
 */
import { TidemarkError, assertNever } from '../base/index.ts';
import type { CapturedTable, ColumnSpec } from '../job/index.ts';
import { parseColumnType, type SqlValue } from '../sql/index.ts';
import type { RowValues } from './change-source.ts';

export type ColumnCodec = (value: unknown) => SqlValue;

const BIGINT_MIN = -(2n ** 63n);
const BIGINT_MAX = 2n ** 63n - 1n;
const INTEGER_TEXT = /^-?\d{1,20}$/;

/**
 * Makes the codec of one column.
 * @throws TidemarkError (the codec) `VALUE_RANGE` for a value that the column's type cannot hold exactly.
 */
export function columnCodec(table: string, column: ColumnSpec): ColumnCodec {
  const convert = converter(column);
  return (value) => {
    if (value === null || value === undefined) return null;
    const converted = convert(value);
    if (converted !== undefined) return converted;
    throw new TidemarkError(
      'VALUE_RANGE',
      `${table}.${column.name}: a value of type ${typeof value} is not an exact ${column.type}`,
      { next: 'Correct the row in the source, or leave the table out of the job.' },
    );
  };
}

/** Makes the codec of a whole row whose values come in column order. */
export function rowCodec(table: CapturedTable): (values: readonly unknown[]) => RowValues {
  const codecs = table.columns.map((column) => columnCodec(table.table, column));
  return (values) => codecs.map((codec, at) => codec(values[at]));
}

function converter(column: ColumnSpec): (value: unknown) => SqlValue | undefined {
  const { kind } = parseColumnType(column.type);
  switch (kind) {
    case 'BIGINT':
    case 'BOOL':
      return integer;
    case 'DECIMAL':
    case 'DATE':
    case 'DATETIME':
    case 'TIMESTAMP':
      return (value) => (typeof value === 'string' ? value : undefined);
    case 'TEXT':
    case 'JSON':
      return text;
    case 'BYTES':
      return (value) => (value instanceof Uint8Array ? value : undefined);
    case 'DOUBLE':
      return (value) => (typeof value === 'number' && Number.isFinite(value) ? value : undefined);
    default:
      return assertNever(kind, 'column type');
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function integer(value: unknown): bigint | undefined {
  const exact = exactInteger(value);
  return exact !== undefined && exact >= BIGINT_MIN && exact <= BIGINT_MAX ? exact : undefined;
}

function exactInteger(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  return typeof value === 'string' && INTEGER_TEXT.test(value) ? BigInt(value) : undefined;
}
