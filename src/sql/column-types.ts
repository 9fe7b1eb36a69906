/**
 * The types that a job may declare for columns, keys and measures. They are Tidemark's own names; each
 * dialect maps them (design 6.1: column types are declared, and Tidemark makes the tables).
 */
import { TidemarkError } from '../base/index.ts';

/** A parsed {@link parseColumnType} name. `length` counts characters (TEXT) or bytes (BYTES). */
export type DeclaredType =
  | { readonly kind: 'BIGINT' | 'DATE' | 'DATETIME' | 'TIMESTAMP' | 'BOOL' | 'DOUBLE' | 'JSON' }
  | { readonly kind: 'DECIMAL'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'TEXT' | 'BYTES'; readonly length: number };

/** The longest text in characters, such that its bytes still fit one VARBINARY. */
const TEXT_MAX = 16_000;
const BYTES_MAX = 65_000;
/** What both MySQL (65,30) and MariaDB (65,38) hold, with room for sums: see `sumType`. */
const DECIMAL_PRECISION_MAX = 43;
const DECIMAL_SCALE_MAX = 30;

export const COLUMN_TYPE_NAMES =
  'BIGINT, INT, DECIMAL(p,s), TEXT(n), BYTES(n), DATE, DATETIME(6), TIMESTAMP(6), BOOL, DOUBLE, JSON';

const PATTERN = /^([A-Z]+)(?:\(\s*(\d{1,5})\s*(?:,\s*(\d{1,5})\s*)?\))?$/;

/**
 * Parses a type's name; letter case and spaces do not matter, INT is BIGINT.
 * @throws TidemarkError `COLUMN_TYPE` for anything else than {@link COLUMN_TYPE_NAMES}.
 */
export function parseColumnType(type: string): DeclaredType {
  const match = PATTERN.exec(type.trim().toUpperCase());
  const parsed = match === null ? undefined : interpret(match[1] ?? '', number(match[2]), number(match[3]));
  if (parsed === undefined) {
    throw new TidemarkError('COLUMN_TYPE', `unknown or impossible column type ${type}`, {
      next: `Use one of ${COLUMN_TYPE_NAMES}.`,
    });
  }
  return parsed;
}

function interpret(
  name: string,
  first: number | undefined,
  second: number | undefined,
): DeclaredType | undefined {
  switch (name) {
    case 'INT':
    case 'BIGINT':
      return first === undefined ? { kind: 'BIGINT' } : undefined;
    case 'DATE':
    case 'BOOL':
    case 'DOUBLE':
    case 'JSON':
      return first === undefined ? { kind: name } : undefined;
    case 'DATETIME':
    case 'TIMESTAMP':
      return (first ?? 6) === 6 && second === undefined ? { kind: name } : undefined;
    case 'TEXT':
      return withLength('TEXT', first, second, TEXT_MAX);
    case 'BYTES':
      return withLength('BYTES', first, second, BYTES_MAX);
    case 'DECIMAL':
      return decimal(first, second ?? 0);
    default:
      return undefined;
  }
}

function withLength(
  kind: 'TEXT' | 'BYTES',
  length: number | undefined,
  excess: number | undefined,
  max: number,
): DeclaredType | undefined {
  if (length === undefined || excess !== undefined || length < 1 || length > max) return undefined;
  return { kind, length };
}

function decimal(precision: number | undefined, scale: number): DeclaredType | undefined {
  if (precision === undefined || precision < 1 || precision > DECIMAL_PRECISION_MAX) return undefined;
  if (scale > DECIMAL_SCALE_MAX || scale > precision) return undefined;
  return { kind: 'DECIMAL', precision, scale };
}

function number(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}
