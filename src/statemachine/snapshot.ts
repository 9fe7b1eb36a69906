/**
 * Snapshots as a stream of chunks, each with its place, a checksum and the format version: a head, rows, and
 * an end that says how many rows there were. A chunk that is damaged, missing, doubled or out of place is
 * refused; the sum of all rows must give the digest that the head names.
 */
import { hash } from 'node:crypto';
import { decode, encode, LIMITS, TidemarkError, type Encodable } from '../base/index.ts';
import type { StateHead, StatePiece } from './state-rows.ts';

export const SNAPSHOT_FORMAT = 1;
const HASH_BYTES = 32;

type Chunk =
  | { readonly part: number; readonly kind: 'head'; readonly head: StateHead }
  | {
      readonly part: number;
      readonly kind: 'rows';
      readonly rows: readonly (readonly [string, Uint8Array])[];
    }
  | { readonly part: number; readonly kind: 'end'; readonly rows: number };

/** Writes what {@link StateStore.read} reads as chunks of at most about `snapshotChunkBytesMax` bytes. */
export async function* snapshotChunks(
  contents: AsyncIterable<StatePiece>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let part = 0;
  let count = 0;
  let bytes = 0;
  let rows: [string, Uint8Array][] = [];
  for await (const piece of contents) {
    if ('head' in piece) {
      yield seal({ part: part++, kind: 'head', head: piece.head });
      continue;
    }
    for (const row of piece.rows) {
      if (rows.length > 0 && bytes + row.bytes.length > LIMITS.snapshotChunkBytesMax) {
        yield seal({ part: part++, kind: 'rows', rows });
        rows = [];
        bytes = 0;
      }
      rows.push([row.fullKey, row.bytes]);
      bytes += row.fullKey.length + row.bytes.length;
    }
    count += piece.rows.length;
  }
  if (rows.length > 0) yield seal({ part: part++, kind: 'rows', rows });
  yield seal({ part, kind: 'end', rows: count });
}

/**
 * Reads a stream of chunks: the head first, then every row, some at a time. Returns after a complete end.
 * @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`.
 */
export async function* readSnapshot(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<StatePiece, void, undefined> {
  let expected = 0;
  let rows = 0;
  let ended = false;
  for await (const bytes of chunks) {
    const chunk = open(bytes);
    if (chunk.part !== expected || ended || (chunk.kind === 'head') !== (chunk.part === 0)) {
      throw corrupt(`part ${chunk.part} is out of place`);
    }
    expected += 1;
    if (chunk.kind === 'head') yield { head: chunk.head };
    else if (chunk.kind === 'rows') {
      yield { rows: chunk.rows.map(([fullKey, row]) => ({ fullKey, bytes: row })) };
      rows += chunk.rows.length;
    } else {
      ended = chunk.rows === rows;
      if (!ended) throw corrupt(`${rows} rows arrived of ${chunk.rows}`);
    }
  }
  if (!ended) throw corrupt('it ends early');
}

function seal(chunk: Chunk): Uint8Array {
  const body = encode(SNAPSHOT_FORMAT, chunk as unknown as Encodable);
  return Buffer.concat([hash('sha256', body, 'buffer'), body]);
}

function open(bytes: Uint8Array): Chunk {
  const body = bytes.subarray(HASH_BYTES);
  if (bytes.length <= HASH_BYTES || hash('sha256', body, 'buffer').compare(bytes, 0, HASH_BYTES) !== 0) {
    throw corrupt('the checksum of a chunk does not match');
  }
  return decode(SNAPSHOT_FORMAT, body, 'snapshot') as Chunk;
}

function corrupt(what: string): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `snapshot: ${what}`);
}
