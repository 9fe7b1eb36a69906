/**
 * Brings what a source delivers for a captured column into the one form that the store gets. Snapshot and
 * log go through the same codec: a row that was read and the same row that was logged must cancel out.
 */
import { TidemarkError, assertNever, mutated } from '../../base/index.ts';
import type { CapturedTable, ColumnSpec } from '../../job/index.ts';
import { parseColumnType, type Dialect, type SqlValue } from '../../sql/index.ts';
import type { RowValues } from '../change-source.ts';

export type ColumnCodec = (value: unknown) => SqlValue;

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

/**
 * The expression that reads a column exactly: MySQL shows a FLOAT with six digits, and a driver may read a
 * number's digits inexactly.
 */
export function exactSelect(dialect: Dialect, column: ColumnSpec): string {
  const name = dialect.id(column.name);
  const { kind } = parseColumnType(column.type);
  if (dialect.kind === 'embedded' || (kind !== 'FLOAT' && kind !== 'DOUBLE')) return name;
  if (mutated('collector.floatAsShown')) return name;
  return `CAST(CAST(${name} AS DOUBLE) AS CHAR) AS ${name}`;
}

/** Makes the codec of a whole row whose values come in column order. */
export function rowCodec(table: CapturedTable): (values: readonly unknown[]) => RowValues {
  const codecs = table.columns.map((column) => columnCodec(table.table, column));
  return (values) => codecs.map((codec, at) => codec(values[at]));
}

function converter(column: ColumnSpec): (value: unknown) => SqlValue | undefined {
  const type = parseColumnType(column.type);
  switch (type.kind) {
    case 'BIGINT':
      return type.unsigned ? integerWithin(0n, 2n ** 64n - 1n) : integerWithin(-(2n ** 63n), 2n ** 63n - 1n);
    case 'BOOL':
    case 'YEAR':
      return integerWithin(-(2n ** 63n), 2n ** 63n - 1n);
    case 'DECIMAL':
    case 'DATE':
    case 'DATETIME':
    case 'TIMESTAMP':
    case 'TIME':
    case 'TEXT':
    case 'JSON':
    case 'SET':
      return text;
    case 'ENUM':
      // '' stands for a value that was refused once; no table takes it again, unless it is a member.
      return (value) => (value === '' && !type.members.includes('') ? undefined : text(value));
    case 'BYTES':
    case 'BIT':
      return (value) => (value instanceof Uint8Array ? value : undefined);
    case 'DOUBLE':
    case 'FLOAT':
      return real;
    default:
      return assertNever(type, 'column type');
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** Text comes from a snapshot: see {@link exactSelect}. */
function real(value: unknown): number | undefined {
  const number = typeof value === 'string' ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
}

function integerWithin(min: bigint, max: bigint): (value: unknown) => bigint | undefined {
  return (value) => {
    const exact = exactInteger(value);
    return exact !== undefined && exact >= min && exact <= max ? exact : undefined;
  };
}

function exactInteger(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  return typeof value === 'string' && INTEGER_TEXT.test(value) ? BigInt(value) : undefined;
}
