/**
 * The bytes of one chunk of a snapshot:
 *
 *     SHA-256 of what follows (32)   format (1)   kind (1)   part (4)   body
 *
 * The body of a head is encoded as a row's record is, that of an end is the number of rows (6). Rows follow
 * each other, each with the lengths of its key (2) and of itself (4) before both: a chunk is written with one
 * copy of its rows, and what is read of it are views.
 */
import { hash } from 'node:crypto';
import { decode, encode, TidemarkError, type Encodable } from '../base/index.ts';
import type { StateHead, StoredRowBytes } from './state-rows.ts';

export const SNAPSHOT_FORMAT = 2;
export const KINDS = { head: 1, rows: 2, end: 3 } as const;

const HASH_BYTES = 32;
const BODY_AT = HASH_BYTES + 6;
const ROW_HEAD_BYTES = 6;
const COUNT_BYTES = 6;
const HEAD_FORMAT = 1;

export type OpenedChunk = { readonly part: number } & (
  | { readonly kind: typeof KINDS.head; readonly head: StateHead }
  | { readonly kind: typeof KINDS.rows; readonly body: Buffer }
  | { readonly kind: typeof KINDS.end; readonly rows: number }
);

/** What a row takes in a chunk. */
export function rowBytesOf({ fullKey, bytes }: StoredRowBytes): number {
  return ROW_HEAD_BYTES + Buffer.byteLength(fullKey) + bytes.length;
}

export function sealHead(part: number, head: StateHead): Uint8Array {
  const body = encode(HEAD_FORMAT, head as unknown as Encodable);
  const chunk = begin(KINDS.head, part, body.length);
  chunk.set(body, BODY_AT);
  return sealed(chunk);
}

/** @param bytes the sum of {@link rowBytesOf} */
export function sealRows(part: number, rows: readonly StoredRowBytes[], bytes: number): Uint8Array {
  const chunk = begin(KINDS.rows, part, bytes);
  let at = BODY_AT;
  for (const { fullKey, bytes: row } of rows) {
    const keyBytes = chunk.write(fullKey, at + ROW_HEAD_BYTES);
    chunk.writeUInt16BE(keyBytes, at);
    chunk.writeUInt32BE(row.length, at + 2);
    at += ROW_HEAD_BYTES + keyBytes;
    chunk.set(row, at);
    at += row.length;
  }
  return sealed(chunk);
}

export function sealEnd(part: number, rows: number): Uint8Array {
  const chunk = begin(KINDS.end, part, COUNT_BYTES);
  chunk.writeUIntBE(rows, BODY_AT, COUNT_BYTES);
  return sealed(chunk);
}

/** @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`. */
export function openChunk(bytes: Uint8Array): OpenedChunk {
  const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (chunk.length < BODY_AT || sumOf(chunk).compare(chunk, 0, HASH_BYTES) !== 0) {
    throw corrupt('the checksum of a chunk does not match');
  }
  const format = chunk.readUInt8(HASH_BYTES);
  if (format !== SNAPSHOT_FORMAT) {
    const text = `snapshot: format version ${format}; this program reads version ${SNAPSHOT_FORMAT}`;
    throw new TidemarkError('FORMAT_UNKNOWN', text, {
      next: 'Use the version of Tidemark that wrote it, or upgrade.',
    });
  }
  const kind = chunk.readUInt8(HASH_BYTES + 1);
  const part = chunk.readUInt32BE(HASH_BYTES + 2);
  const body = chunk.subarray(BODY_AT);
  if (kind === KINDS.rows) return { kind, part, body };
  if (kind === KINDS.head) return { kind, part, head: decode(HEAD_FORMAT, body, 'snapshot') as StateHead };
  if (kind === KINDS.end && body.length === COUNT_BYTES) {
    return { kind, part, rows: body.readUIntBE(0, COUNT_BYTES) };
  }
  throw corrupt(`a chunk of kind ${kind}`);
}

/** Rows of a chunk; their bytes are views of it. @throws TidemarkError `DATA_CORRUPT`. */
export function rowsIn(body: Buffer): readonly StoredRowBytes[] {
  const rows: StoredRowBytes[] = [];
  let at = 0;
  while (at < body.length) {
    const keyAt = at + ROW_HEAD_BYTES;
    if (keyAt > body.length) throw corrupt('a row is cut off');
    const rowAt = keyAt + body.readUInt16BE(at);
    const end = rowAt + body.readUInt32BE(at + 2);
    if (end > body.length) throw corrupt('a row is cut off');
    rows.push({ fullKey: body.toString('utf8', keyAt, rowAt), bytes: body.subarray(rowAt, end) });
    at = end;
  }
  return rows;
}

function begin(kind: number, part: number, bodyBytes: number): Buffer {
  const chunk = Buffer.allocUnsafe(BODY_AT + bodyBytes);
  chunk.writeUInt8(SNAPSHOT_FORMAT, HASH_BYTES);
  chunk.writeUInt8(kind, HASH_BYTES + 1);
  chunk.writeUInt32BE(part, HASH_BYTES + 2);
  return chunk;
}

function sealed(chunk: Buffer): Buffer {
  sumOf(chunk).copy(chunk);
  return chunk;
}

function sumOf(chunk: Buffer): Buffer {
  return hash('sha256', chunk.subarray(HASH_BYTES), 'buffer');
}

function corrupt(what: string): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `snapshot: ${what}`);
}
