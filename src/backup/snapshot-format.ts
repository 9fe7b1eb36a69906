/**
 * A snapshot file: a name and a format version, then records, each of a kind, a length, its content and a
 * CRC-32 of all three. First a header, then chunks of the state, at last the SHA-256 of all bytes before it.
 * What is flipped, cut off, added or of another program is so refused before anything is made of it.
 *
 *     "tidemark" version (4 bytes)   { kind (1) length (4) content checksum (4) } ...
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { encode } from '../base/index.ts';

export const FILE_NAME = Buffer.from('tidemark');
export const FILE_FORMAT = 1;
export const PROLOGUE_BYTES = 12;
export const RECORD_HEAD_BYTES = 5;
export const RECORD_SUM_BYTES = 4;
export const HEADER_FORMAT = 1;

export const KIND = { header: 1, chunk: 2, end: 3 } as const;

/** What the file says about the state in it. */
export interface SnapshotHeader {
  readonly clusterId: string;
  /** The last entry that the state holds. */
  readonly index: number;
  readonly term: number;
  /** 16 hex digits: the digest of the state at that entry. */
  readonly digest: string;
  /** The program that saved it. */
  readonly version: string;
  /** Wall clock, milliseconds since 1970; for display. */
  readonly savedMs: number;
}

/** Writes a state as the bytes of a file. */
export async function* snapshotBytes(
  header: SnapshotHeader,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash('sha256');
  const summed = (bytes: Buffer): Buffer => {
    hash.update(bytes);
    return bytes;
  };
  // Begun before anything is handed out: what the chunks read from is closed then, whenever the reader stops.
  const parts = chunks[Symbol.asyncIterator]();
  let part = await parts.next();
  try {
    yield summed(prologue());
    yield summed(record(KIND.header, encode(HEADER_FORMAT, { ...header })));
    while (part.done !== true) {
      yield summed(record(KIND.chunk, part.value));
      part = await parts.next();
    }
    yield record(KIND.end, hash.digest());
  } finally {
    await parts.return?.();
  }
}

function prologue(): Buffer {
  const bytes = Buffer.alloc(PROLOGUE_BYTES);
  bytes.set(FILE_NAME);
  bytes.writeUInt32BE(FILE_FORMAT, FILE_NAME.length);
  return bytes;
}

function record(kind: number, content: Uint8Array): Buffer {
  const end = RECORD_HEAD_BYTES + content.length;
  const bytes = Buffer.allocUnsafe(end + RECORD_SUM_BYTES);
  bytes[0] = kind;
  bytes.writeUInt32BE(content.length, 1);
  bytes.set(content, RECORD_HEAD_BYTES);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, end)), end);
  return bytes;
}
