/**
 * Decodes the fields of a row image, as the binlog of MySQL and MariaDB holds them, to exact values in the
 * form that a query gives: a row that was read and the same row that was logged must cancel out.
 *
 * The layouts are those of the server's sql/log_event.cc and sql/field.cc (pack and unpack of each type).
 */
import { DECLARE_AGAIN, TidemarkError, mutated } from '../../base/index.ts';
import { parseColumnType, type SqlValue } from '../../sql/index.ts';
import type { ColumnSpec } from '../../job/index.ts';
import { LOGGED_TYPE, type LoggedColumn } from './logged-column.ts';
import { dateField, dateTimeField, timeField, timestampField } from './temporal-fields.ts';

/** Where in an image the next field begins. */
export interface ImageCursor {
  readonly bytes: Buffer;
  at: number;
}

/** Reads one field that is not NULL, and moves the cursor behind it. */
export type FieldReader = (cursor: ImageCursor) => SqlValue;

/** Makes the reader of one column, which the caller has compared with what is captured. */
export function fieldReader(table: string, column: ColumnSpec, logged: LoggedColumn): FieldReader {
  const type = parseColumnType(column.type);
  switch (type.kind) {
    case 'BIGINT':
      return integerField(type.bytes, type.unsigned);
    case 'DECIMAL':
      return decimalField(type.precision, type.scale);
    case 'FLOAT':
      return realField(4);
    case 'DOUBLE':
      return realField(8);
    case 'YEAR':
      return (cursor) => {
        const year = cursor.bytes.readUInt8(cursor.at);
        cursor.at += 1;
        return year === 0 ? 0n : BigInt(YEAR_ZERO + year);
      };
    case 'DATE':
      return dateField;
    case 'TIME':
      return timeField(type.digits);
    case 'DATETIME':
    case 'TIMESTAMP':
      return logged.type === LOGGED_TYPE.timestamp2
        ? timestampField(type.digits)
        : dateTimeField(type.digits);
    case 'BIT':
      return bytesOf(() => Math.ceil(type.bits / 8));
    case 'ENUM':
      return enumField(`${table}.${column.name}`, type.members, numberOf(logged, 'size'));
    case 'SET':
      return setField(type.members, numberOf(logged, 'size'));
    case 'TEXT':
      return textField(logged);
    case 'BYTES':
      return type.fixed ? fixedBytesField(type.length, logged) : bytesOf(lengthOf(logged));
    case 'BOOL':
    case 'JSON':
      throw new TidemarkError(
        'COLUMN_TYPE',
        `${table}.${column.name}: ${type.kind} is not read from a binlog`,
      );
    default:
      return unknownType(type);
  }
}

const YEAR_ZERO = 1900;

function unknownType(type: never): never {
  throw new TidemarkError('COLUMN_TYPE', `not a column type: ${JSON.stringify(type)}`);
}

function numberOf(logged: LoggedColumn, name: string): number {
  return Number(logged.metadata?.[name] ?? 0);
}

function integerField(bytes: number, unsigned: boolean): FieldReader {
  if (bytes === 8) {
    return (cursor) => {
      const { at } = cursor;
      cursor.at += 8;
      return unsigned ? cursor.bytes.readBigUInt64LE(at) : cursor.bytes.readBigInt64LE(at);
    };
  }
  return (cursor) => {
    const { at } = cursor;
    cursor.at += bytes;
    return BigInt(unsigned ? cursor.bytes.readUIntLE(at, bytes) : cursor.bytes.readIntLE(at, bytes));
  };
}

function realField(bytes: 4 | 8): FieldReader {
  return (cursor) => {
    const { at } = cursor;
    cursor.at += bytes;
    return bytes === 4 ? cursor.bytes.readFloatLE(at) : cursor.bytes.readDoubleLE(at);
  };
}

const GROUP_DIGITS = 9;
/** Bytes of a group of 0 to 9 decimal digits. */
const GROUP_BYTES = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4] as const;

/** Digits in groups of nine; the first bit says that it is not negative, else all bits are turned. */
function decimalField(precision: number, scale: number): FieldReader {
  const whole = precision - scale;
  const groups = [...groupsOf(whole % GROUP_DIGITS, whole), ...groupsOf(0, scale - (scale % GROUP_DIGITS))];
  const rest = scale % GROUP_DIGITS;
  if (rest > 0) groups.push(rest);
  return (cursor) => {
    const { bytes } = cursor;
    const negative = ((bytes[cursor.at] ?? 0) & 0x80) === 0;
    let digits = '';
    for (let index = 0; index < groups.length; index += 1) {
      const count = groups[index] ?? 0;
      const size = GROUP_BYTES[count] ?? 0;
      let value = bytes.readUIntBE(cursor.at, size);
      if (index === 0) value ^= 0x80 << ((size - 1) * 8);
      value >>>= 0;
      if (negative) value = 2 ** (size * 8) - 1 - value;
      digits += String(value).padStart(count, '0');
      cursor.at += size;
    }
    const units = digits.slice(0, whole).replace(/^0+(?=\d)/, '') || '0';
    return `${negative ? '-' : ''}${units}${scale > 0 ? `.${digits.slice(whole)}` : ''}`;
  };
}

function groupsOf(first: number, digits: number): number[] {
  const whole = Array.from({ length: Math.floor(digits / GROUP_DIGITS) }, () => GROUP_DIGITS);
  return first > 0 ? [first, ...whole] : whole;
}

function enumField(name: string, members: readonly string[], bytes: number): FieldReader {
  return (cursor) => {
    const index = cursor.bytes.readUIntLE(cursor.at, bytes);
    cursor.at += bytes;
    const member = members[index - 1];
    if (member !== undefined) return member;
    throw new TidemarkError('VALUE_RANGE', `${name}: a value that is none of its members`, {
      next: `Correct the row in the source. ${DECLARE_AGAIN}`,
    });
  };
}

function setField(members: readonly string[], bytes: number): FieldReader {
  return (cursor) => {
    const chosen: string[] = [];
    for (const [index, member] of members.entries()) {
      const byte = cursor.bytes[cursor.at + (index >> 3)] ?? 0;
      if ((byte & (1 << (index & 7))) !== 0) chosen.push(member);
    }
    cursor.at += bytes;
    return chosen.join(',');
  };
}

/** Reads the length that stands before a value. */
function lengthOf(logged: LoggedColumn): (cursor: ImageCursor) => number {
  const prefix = logged.type === LOGGED_TYPE.blob ? numberOf(logged, 'length_size') : shortPrefix(logged);
  return (cursor) => {
    const { at } = cursor;
    cursor.at += prefix;
    return prefix === 1 ? cursor.bytes.readUInt8(at) : cursor.bytes.readUIntLE(at, prefix);
  };
}

function shortPrefix(logged: LoggedColumn): number {
  return numberOf(logged, 'max_length') > 0xff ? 2 : 1;
}

function bytesOf(length: (cursor: ImageCursor) => number): FieldReader {
  return (cursor) => {
    const size = length(cursor);
    const from = cursor.at;
    cursor.at += size;
    return cursor.bytes.subarray(from, cursor.at);
  };
}

/** The log leaves out the zero bytes at the end of a BINARY. */
function fixedBytesField(size: number, logged: LoggedColumn): FieldReader {
  const read = bytesOf(lengthOf(logged));
  return (cursor) => {
    const found = read(cursor) as Uint8Array;
    if (found.length === size || mutated('collector.fixedBytesNotPadded')) return found;
    const padded = Buffer.alloc(size);
    padded.set(found);
    return padded;
  };
}

function textField(logged: LoggedColumn): FieldReader {
  const length = lengthOf(logged);
  const isLatin1 = logged.charset === 'latin1';
  return (cursor) => {
    const size = length(cursor);
    const from = cursor.at;
    cursor.at += size;
    if (!isLatin1) return cursor.bytes.toString('utf8', from, cursor.at);
    const text = cursor.bytes.toString('latin1', from, cursor.at);
    return HIGH_CONTROL.test(text) && !mutated('collector.latin1AsBytes')
      ? text.replace(HIGH_CONTROLS, latin1Char)
      : text;
  };
}

/** MySQL's latin1 is cp1252, whose five holes stand for the control characters themselves. */
const HIGH_CONTROL = /[\x80-\x9f]/;
const HIGH_CONTROLS = /[\x80-\x9f]/g;
const CP1252 =
  '\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f' +
  '\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178';

function latin1Char(char: string): string {
  return CP1252.charAt(char.charCodeAt(0) - 0x80);
}
