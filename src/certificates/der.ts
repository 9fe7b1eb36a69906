/** The part of DER (ITU-T X.690) that certificates need: nested tag, length and content. */

/** Encodes one value: its tag, the length of its content, and the content. */
function tagged(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

/** Lengths from 128 on are told by their number of bytes first. */
function lengthOf(length: number): Buffer {
  if (length < 128) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 + bytes.length, ...bytes]);
}

export const sequence = (...items: readonly Uint8Array[]): Buffer => tagged(0x30, ...items);
export const set = (...items: readonly Uint8Array[]): Buffer => tagged(0x31, ...items);
export const utf8 = (text: string): Buffer => tagged(0x0c, Buffer.from(text));
export const boolean = (value: boolean): Buffer => tagged(0x01, Buffer.from([value ? 0xff : 0]));
export const octets = (content: Uint8Array): Buffer => tagged(0x04, content);
/** A string of bits of which the last `unused` of the last byte do not count. */
export const bits = (content: Uint8Array, unused = 0): Buffer => tagged(0x03, Buffer.from([unused]), content);
/** `[number]` around other values. */
export const wrapped = (number: number, ...items: readonly Uint8Array[]): Buffer =>
  tagged(0xa0 + number, ...items);
/** `[number]` instead of the tag that the content would have. */
export const implicit = (number: number, content: Uint8Array): Buffer => tagged(0x80 + number, content);

/** Encodes a number of any size that is not negative. */
export function integer(bytes: Uint8Array): Buffer {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const shortest = bytes.subarray(from);
  const negative = (shortest[0] ?? 0) >= 0x80;
  return tagged(0x02, negative ? Buffer.from([0]) : Buffer.alloc(0), shortest);
}

/** Encodes `1.2.840.10045`: seven bits a byte, the first two numbers in one. */
export function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes: number[] = [];
  for (const number of [first * 40 + second, ...rest]) {
    const group = [number % 128];
    for (let left = Math.floor(number / 128); left > 0; left = Math.floor(left / 128)) {
      group.unshift(0x80 + (left % 128));
    }
    bytes.push(...group);
  }
  return tagged(0x06, Buffer.from(bytes));
}

/** Encodes a moment to the second; years from 2050 on have four digits (RFC 5280, 4.1.2.5). */
export function time(moment: Date): Buffer {
  const digits = moment.toISOString().replace(/[-:T]|\.\d+/g, '');
  return moment.getUTCFullYear() < 2050
    ? tagged(0x17, Buffer.from(digits.slice(2)))
    : tagged(0x18, Buffer.from(digits));
}
