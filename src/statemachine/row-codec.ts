/**
 * How a row is stored: the value, then 8 bytes of hash over its full key and the value. The hash is the row's
 * checksum, and the same number is its part of the digest, so one pass over the rows checks each of them
 * and, by the sum, that none has vanished or been added.
 */
import { hash } from 'node:crypto';
import { decode, encode, mutated, TidemarkError, type Encodable } from '../base/index.ts';
import { STATE_FORMAT } from './commands/records.ts';

const HASH_BYTES = 8;
const DIGEST_MASK = (1n << 64n) - 1n;

export interface StoredRow {
  readonly bytes: Uint8Array;
  readonly hash: bigint;
}

export function encodeRow(fullKey: string, record: object): StoredRow {
  const value = encode(STATE_FORMAT, record as unknown as Encodable);
  const { input, valueAt } = hashInput(fullKey, value, HASH_BYTES);
  const end = input.length - HASH_BYTES;
  const rowHash = hashOf(input.subarray(0, end));
  input.writeBigUInt64BE(rowHash, end);
  return { bytes: input.subarray(valueAt), hash: rowHash };
}

/**
 * Reads a stored row and checks it.
 * @throws TidemarkError `DATA_CORRUPT` if any bit of key or value differs, `FORMAT_UNKNOWN`.
 */
export function decodeRow(fullKey: string, bytes: Uint8Array): { record: unknown; hash: bigint } {
  const end = bytes.length - HASH_BYTES;
  if (end <= 0) throw new TidemarkError('DATA_CORRUPT', `state row ${fullKey}: cut off`);
  const stored = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(end);
  const value = bytes.subarray(0, end);
  const computed = hashOf(hashInput(fullKey, value, 0).input);
  if (computed !== stored && !mutated('state.rowChecksumIgnored')) {
    throw new TidemarkError('DATA_CORRUPT', `state row ${fullKey}: its checksum does not match`, {
      next: 'Stop this coordinator, empty its state folder, and start it again: the log is applied anew.',
    });
  }
  return { record: decode(STATE_FORMAT, value, `state row ${fullKey}`), hash: stored };
}

/** Adds to a digest: the order-free sum of the hashes of all live rows, modulo 2^64. */
export const addToDigest = (digest: bigint, rowHash: bigint): bigint => (digest + rowHash) & DIGEST_MASK;
export const takeFromDigest = (digest: bigint, rowHash: bigint): bigint => (digest - rowHash) & DIGEST_MASK;
export const digestText = (digest: bigint): string => digest.toString(16).padStart(16, '0');

/** The key's length comes first, so that no two (key, value) pairs give the same input. */
function hashInput(fullKey: string, value: Uint8Array, spare: number): { input: Buffer; valueAt: number } {
  const keyBytes = Buffer.byteLength(fullKey);
  const valueAt = 4 + keyBytes;
  const input = Buffer.allocUnsafe(valueAt + value.length + spare);
  input.writeUInt32BE(keyBytes, 0);
  input.write(fullKey, 4);
  input.set(value, valueAt);
  return { input, valueAt };
}

function hashOf(input: Uint8Array): bigint {
  return hash('sha256', input, 'buffer').readBigUInt64BE(0);
}
