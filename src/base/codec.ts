/**
 * The one binary codec for what is ours on both ends: log entries, peer frames, table values, snapshots.
 *
 * It is msgpack with fixed settings: no records and no extension types, so that bytes mean the same to
 * every version, and integers instead of floats above 2^32. Every payload begins with a format version
 * (one byte): data from a later version is refused with a code, never guessed at.
 */
import { Packr, Unpackr } from 'msgpackr';
import { assert } from './assert.ts';
import { TidemarkError } from './tidemark-error.ts';

/** What may be encoded. BigInt is left out on purpose: 64-bit tokens travel as decimal strings. */
export type Encodable =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly Encodable[]
  | { readonly [key: string]: Encodable | undefined };

const options = {
  useRecords: false,
  mapsAsObjects: true,
  encodeUndefinedAsNil: true,
  moreTypes: false,
  int64AsType: 'number' as const,
  largeBigIntToString: false,
  structuredClone: false,
};
const packr = new Packr(options);
const unpackr = new Unpackr(options);

/** Encodes `value` behind one byte of format version. Keys whose value is undefined are left out. */
export function encode(version: number, value: Encodable): Uint8Array {
  assert(Number.isInteger(version) && version > 0 && version < 256, 'a format version is one byte');
  const body = packr.pack(normalize(value));
  const bytes = new Uint8Array(body.length + 1);
  bytes[0] = version;
  bytes.set(body, 1);
  return bytes;
}

/**
 * Decodes bytes made by {@link encode}.
 * @throws TidemarkError `FORMAT_UNKNOWN` for another format version, `DATA_CORRUPT` for anything that is
 * not one value of the allowed types.
 */
export function decode(version: number, bytes: Uint8Array, what: string): unknown {
  const found = bytes[0];
  if (found === undefined) throw new TidemarkError('DATA_CORRUPT', `${what}: empty`);
  if (found !== version) {
    throw new TidemarkError(
      'FORMAT_UNKNOWN',
      `${what} has format version ${found}; this program reads version ${version}`,
      {
        next: 'Use the version of Tidemark that wrote it, or upgrade.',
      },
    );
  }
  let value: unknown;
  try {
    value = unpackr.unpack(bytes.subarray(1));
  } catch (cause) {
    throw new TidemarkError('DATA_CORRUPT', `${what}: not readable`, { cause });
  }
  check(value, what, 0);
  return value;
}

const DEPTH_MAX = 64;

/**
 * msgpackr writes integers above 2^32 as floats; a BigInt of the same value is written as a 64-bit integer.
 * What needs no change is returned as it is: most values need none, and copying them costs as much as
 * packing.
 */
function normalize(value: Encodable): unknown {
  if (typeof value === 'number') {
    if (!Number.isInteger(value)) return value;
    assert(Number.isSafeInteger(value), 'an encoded integer is safe');
    return value > 0xffffffff || value < -0x80000000 ? BigInt(value) : value;
  }
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return normalizeList(value);
  return normalizeObject(value as Readonly<Record<string, Encodable | undefined>>);
}

function normalizeList(list: readonly Encodable[]): readonly unknown[] {
  let copy: unknown[] | undefined;
  list.forEach((item, i) => {
    const normal = normalize(item);
    if (normal === item) return;
    copy ??= [...list];
    copy[i] = normal;
  });
  return copy ?? list;
}

function normalizeObject(object: Readonly<Record<string, Encodable | undefined>>): object {
  let copy: Record<string, unknown> | undefined;
  for (const key of Object.keys(object)) {
    const item = object[key];
    const normal = item === undefined ? undefined : normalize(item);
    if (normal === item && item !== undefined) continue;
    copy ??= { ...object };
    if (normal === undefined) Reflect.deleteProperty(copy, key);
    else copy[key] = normal;
  }
  return copy ?? object;
}

function check(value: unknown, what: string, depth: number): void {
  if (depth > DEPTH_MAX) throw new TidemarkError('DATA_CORRUPT', `${what}: nested too deeply`);
  if (
    value === null ||
    typeof value === 'boolean' ||
    typeof value === 'string' ||
    value instanceof Uint8Array
  )
    return;
  if (typeof value === 'number') {
    if (Number.isInteger(value) && !Number.isSafeInteger(value))
      throw new TidemarkError('DATA_CORRUPT', `${what}: integer out of range`);
    return;
  }
  if (Array.isArray(value)) {
    for (const item of value) check(item, what, depth + 1);
    return;
  }
  if (typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) check(item, what, depth + 1);
    return;
  }
  throw new TidemarkError('DATA_CORRUPT', `${what}: a value of a type that is never written`);
}
