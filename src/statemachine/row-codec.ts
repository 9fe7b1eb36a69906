/**
 * How a row is stored: the value, then 8 bytes of hash over its full key and the value. The hash is the row's
 * checksum, and the same number is its part of the digest, so one pass over the rows checks each of them
 * and, by the sum, that none has vanished or been added.
 */
import { decode, encode, mutated, TidemarkError, type Encodable } from '../base/index.ts';
import { STATE_FORMAT } from './commands/records.ts';
import { hashBytes, type Hash64 } from './row-hash.ts';

const HASH_BYTES = 8;

/** A row to write, or to delete where `bytes` is undefined. */
export interface RowChange {
  readonly fullKey: string;
  readonly bytes: Uint8Array | undefined;
}

export interface StoredRow {
  readonly bytes: Uint8Array;
  readonly hash: Readonly<Hash64>;
}

export function encodeRow(fullKey: string, record: object): StoredRow {
  const value = encode(STATE_FORMAT, record as unknown as Encodable);
  const valueAt = Buffer.byteLength(fullKey);
  const end = valueAt + value.length;
  // Key and row in one piece, so that they are hashed in one go.
  const whole = Buffer.allocUnsafe(end + HASH_BYTES);
  whole.write(fullKey);
  whole.set(value, valueAt);
  const hash = hashOf(whole, end, valueAt);
  whole.writeUInt32BE(hash.high, end);
  whole.writeUInt32BE(hash.low, end + 4);
  return { bytes: whole.subarray(valueAt), hash };
}

/**
 * Reads a stored row and checks it.
 * @throws TidemarkError `DATA_CORRUPT` if any bit of key or value differs, `FORMAT_UNKNOWN`.
 */
export function decodeRow(fullKey: string, bytes: Uint8Array): { record: unknown; hash: Readonly<Hash64> } {
  const hash = checkRow(fullKey, bytes);
  const value = bytes.subarray(0, bytes.length - HASH_BYTES);
  return { record: decode(STATE_FORMAT, value, `state row ${fullKey}`), hash };
}

/**
 * Checks a stored row, of any table, and returns its hash.
 * @throws TidemarkError `DATA_CORRUPT` if any bit of key or value differs.
 */
export function checkRow(fullKey: string, bytes: Uint8Array): Readonly<Hash64> {
  if (bytes.length <= HASH_BYTES) throw new TidemarkError('DATA_CORRUPT', `state row ${fullKey}: cut off`);
  const key = Buffer.from(fullKey);
  const whole = Buffer.concat([key, bytes]);
  const end = whole.length - HASH_BYTES;
  const hash = hashOf(whole, end, key.length);
  const matches = whole.readUInt32BE(end) === hash.high && whole.readUInt32BE(end + 4) === hash.low;
  // Rows of other versions may be hashed otherwise: the decoder says then that it does not know them.
  if (!matches && bytes[0] === STATE_FORMAT && !mutated('state.rowChecksumIgnored'))
    throw damagedRow(fullKey);
  return hash;
}

export function damagedRow(name: string): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `state row ${name}: its checksum does not match`, {
    next:
      'Stop this coordinator, empty its state folder, and start it again: the state is made anew of its ' +
      'log, or fetched from the others, who must be a majority that has caught up.',
  });
}

/** The key's length is the seed, so that no two (key, value) pairs give the same input. */
function hashOf(whole: Buffer, end: number, seed: number): Readonly<Hash64> {
  const hash = { high: 0, low: 0 };
  hashBytes(new DataView(whole.buffer, whole.byteOffset, whole.length), { from: 0, to: end }, seed, hash);
  return hash;
}
