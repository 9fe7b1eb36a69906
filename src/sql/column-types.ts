/**
 * The types of captured columns, and those that a job may declare for keys and measures. They are Tidemark's
 * own names; each dialect maps them (design 6.1: column types are declared, and Tidemark makes the tables).
 */
import { TidemarkError } from '../base/index.ts';

/**
 * A parsed {@link parseColumnType} name. `length` counts characters (TEXT) or bytes (BYTES), `digits` those
 * of a second's fraction. `fixed` bytes are always as many as `length`.
 */
export type DeclaredType =
  | { readonly kind: 'BIGINT'; readonly bytes: IntegerBytes; readonly unsigned: boolean }
  | { readonly kind: 'DATE' | 'BOOL' | 'DOUBLE' | 'FLOAT' | 'YEAR' | 'JSON' }
  | { readonly kind: 'DATETIME' | 'TIMESTAMP' | 'TIME'; readonly digits: number }
  | { readonly kind: 'DECIMAL'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'TEXT'; readonly length: number }
  | { readonly kind: 'BYTES'; readonly length: number; readonly fixed: boolean }
  | { readonly kind: 'BIT'; readonly bits: number }
  | { readonly kind: 'ENUM' | 'SET'; readonly members: readonly string[] };

export type IntegerBytes = 1 | 2 | 3 | 4 | 8;

/** The longest text in characters, such that its bytes still fit one VARBINARY. */
const TEXT_MAX = 16_000;
const BYTES_MAX = 65_000;
/** A whole BINARY column. */
const FIXED_BYTES_MAX = 255;
/** What MariaDB holds; MySQL has at most 30 digits behind the point. */
const DECIMAL_PRECISION_MAX = 65;
const DECIMAL_SCALE_MAX = 38;
const FRACTION_DIGITS_MAX = 6;
const BITS_MAX = 64;

export const COLUMN_TYPE_NAMES =
  'BIGINT, INT (and the other integers, UNSIGNED too), DECIMAL(p,s), TEXT(n), BYTES(n), DATE, DATETIME(6), ' +
  'TIMESTAMP(6), TIME(6), BOOL, DOUBLE, JSON';

const INTEGERS: ReadonlyMap<string, IntegerBytes> = new Map([
  ['TINYINT', 1],
  ['SMALLINT', 2],
  ['MEDIUMINT', 3],
  ['INT', 4],
  ['BIGINT', 8],
]);

const PATTERN = /^([A-Z]+)(?:\(\s*(\d{1,5})\s*(?:,\s*(\d{1,5})\s*)?\))?( UNSIGNED)?$/;
const MEMBERS = /^(ENUM|SET)\(((?:'(?:[^']|'')*')(?:,'(?:[^']|'')*')*)\)$/i;

/**
 * Parses a type's name; letter case and spaces do not matter, but in the members of ENUM and SET.
 * @throws TidemarkError `COLUMN_TYPE` for anything that is not a type.
 */
export function parseColumnType(type: string): DeclaredType {
  const members = MEMBERS.exec(type.trim());
  if (members !== null) {
    const kind = members[1]?.toUpperCase() === 'ENUM' ? 'ENUM' : 'SET';
    return { kind, members: membersOf(members[2] ?? '') };
  }
  const match = PATTERN.exec(type.trim().toUpperCase());
  const parsed = match === null ? undefined : interpret(match);
  if (parsed === undefined) {
    throw new TidemarkError('COLUMN_TYPE', `unknown or impossible column type ${type}`, {
      next: `Use one of ${COLUMN_TYPE_NAMES}.`,
    });
  }
  return parsed;
}

/** The members as information_schema shows them: a quote is doubled, a backslash escapes. */
function membersOf(list: string): string[] {
  return [...list.matchAll(/'((?:[^']|'')*)'/g)].map(([, member = '']) =>
    member.replaceAll("''", "'").replace(/\\([\s\S])/g, (_, char: string) => UNESCAPED[char] ?? char),
  );
}

const UNESCAPED: Readonly<Record<string, string>> = { 0: '\0', n: '\n', r: '\r' };

function interpret(match: RegExpExecArray): DeclaredType | undefined {
  const [, name = '', one, two, sign] = match;
  const [first, second] = [number(one), number(two)];
  const bytes = INTEGERS.get(name);
  if (bytes !== undefined) {
    return first === undefined ? { kind: 'BIGINT', bytes, unsigned: sign !== undefined } : undefined;
  }
  if (sign !== undefined) return undefined;
  switch (name) {
    case 'DATE':
    case 'BOOL':
    case 'DOUBLE':
    case 'FLOAT':
    case 'YEAR':
    case 'JSON':
      return first === undefined ? { kind: name } : undefined;
    case 'DATETIME':
    case 'TIMESTAMP':
    case 'TIME': {
      const digits = first ?? FRACTION_DIGITS_MAX;
      return digits <= FRACTION_DIGITS_MAX && second === undefined ? { kind: name, digits } : undefined;
    }
    case 'TEXT':
    case 'BYTES':
    case 'BINARY':
    case 'BIT':
      return second === undefined && first !== undefined && first > 0 ? sized(name, first) : undefined;
    case 'DECIMAL':
      return decimal(first, second ?? 0);
    default:
      return undefined;
  }
}

function sized(name: 'TEXT' | 'BYTES' | 'BINARY' | 'BIT', size: number): DeclaredType | undefined {
  switch (name) {
    case 'TEXT':
      return size <= TEXT_MAX ? { kind: 'TEXT', length: size } : undefined;
    case 'BYTES':
      return size <= BYTES_MAX ? { kind: 'BYTES', length: size, fixed: false } : undefined;
    case 'BINARY':
      return size <= FIXED_BYTES_MAX ? { kind: 'BYTES', length: size, fixed: true } : undefined;
    default:
      return size <= BITS_MAX ? { kind: 'BIT', bits: size } : undefined;
  }
}

function decimal(precision: number | undefined, scale: number): DeclaredType | undefined {
  if (precision === undefined || precision < 1 || precision > DECIMAL_PRECISION_MAX) return undefined;
  if (scale > DECIMAL_SCALE_MAX || scale > precision) return undefined;
  return { kind: 'DECIMAL', precision, scale };
}

function number(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}
