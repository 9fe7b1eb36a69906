/** Decodes dates and times of a row image: big-endian since MySQL 5.6, but for DATE (see row-fields.ts). */
import type { FieldReader, ImageCursor } from './row-fields.ts';

const two = (value: number): string => (value < 10 ? `0${value}` : String(value));

function dateText(year: number, month: number, day: number): string {
  return `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}`;
}

function clockText(seconds: number): string {
  return `${two(Math.floor(seconds / 3_600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

/** Three bytes: 15 bits of year, 4 of month, 5 of day. */
export const dateField: FieldReader = (cursor) => {
  const packed = cursor.bytes.readUIntLE(cursor.at, 3);
  cursor.at += 3;
  return dateText(packed >> 9, (packed >> 5) & 15, packed & 31);
};

/** Reads a fraction: two digits a byte. */
function fractionOf(cursor: ImageCursor, digits: number): number {
  const bytes = Math.ceil(digits / 2);
  if (bytes === 0) return 0;
  const { at } = cursor;
  cursor.at += bytes;
  return cursor.bytes.readUIntBE(at, bytes);
}

function fractionText(fraction: number, digits: number): string {
  if (digits === 0) return '';
  return `.${String(fraction)
    .padStart(Math.ceil(digits / 2) * 2, '0')
    .slice(0, digits)}`;
}

const DATETIME_ZERO = 0x80_0000_0000;

/** Five bytes: a sign, 17 bits of year * 13 + month, 5 of day, 5 of hour, 6 of minute, 6 of second. */
export function dateTimeField(digits: number): FieldReader {
  return (cursor) => {
    const packed = cursor.bytes.readUIntBE(cursor.at, 5) - DATETIME_ZERO;
    cursor.at += 5;
    const days = Math.floor(packed / 2 ** 17);
    const months = days >> 5;
    const date = dateText(Math.floor(months / 13), months % 13, days & 31);
    const clock = packed % 2 ** 17;
    const time = `${two(clock >> 12)}:${two((clock >> 6) & 63)}:${two(clock & 63)}`;
    return `${date} ${time}${fractionText(fractionOf(cursor, digits), digits)}`;
  };
}

const DAY_SECONDS = 86_400;
const MS = 1_000;

/** Four bytes of seconds since 1970; as it reads under UTC. 0 is the zero date. */
export function timestampField(digits: number): FieldReader {
  let day = -1;
  let date = '';
  return (cursor) => {
    const seconds = cursor.bytes.readUInt32BE(cursor.at);
    cursor.at += 4;
    const fraction = fractionOf(cursor, digits);
    if (seconds === 0 && fraction === 0) return `0000-00-00 00:00:00${fractionText(0, digits)}`;
    if (Math.floor(seconds / DAY_SECONDS) !== day) {
      day = Math.floor(seconds / DAY_SECONDS);
      date = new Date(day * DAY_SECONDS * MS).toISOString().slice(0, 10);
    }
    return `${date} ${clockText(seconds % DAY_SECONDS)}${fractionText(fraction, digits)}`;
  };
}

const TIME_ZERO = 0x80_0000;

/** Three bytes: a sign, 10 bits of hour, 6 of minute, 6 of second; negative values as two's complement. */
export function timeField(digits: number): FieldReader {
  return (cursor) => {
    let packed = cursor.bytes.readUIntBE(cursor.at, 3) - TIME_ZERO;
    cursor.at += 3;
    let fraction = fractionOf(cursor, digits);
    const negative = packed < 0;
    if (negative && fraction > 0) {
      packed += 1;
      fraction = 256 ** Math.ceil(digits / 2) - fraction;
    }
    const value = Math.abs(packed);
    const time = `${two(value >> 12)}:${two((value >> 6) & 63)}:${two(value & 63)}`;
    return `${negative ? '-' : ''}${time}${fractionText(fraction, digits)}`;
  };
}
