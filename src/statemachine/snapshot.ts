/**
 * Snapshots as a stream of chunks, each with its place, a checksum and the format version: a head, rows, and
 * an end that says how many rows there were. A chunk that is damaged, missing, doubled or out of place is
 * refused; the sum of all rows must give the digest that the head names.
 */
import { LIMITS, TidemarkError } from '../base/index.ts';
import { KINDS, openChunk, rowBytesOf, rowsIn, sealEnd, sealHead, sealRows } from './snapshot-chunk.ts';
import type { StatePiece, StoredRowBytes } from './state-rows.ts';

/** Writes what {@link StateStore.read} reads as chunks of at most about `snapshotChunkBytesMax` bytes. */
export async function* snapshotChunks(
  contents: AsyncIterable<StatePiece>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let part = 0;
  let count = 0;
  let bytes = 0;
  let rows: StoredRowBytes[] = [];
  for await (const piece of contents) {
    if ('head' in piece) {
      yield sealHead(part++, piece.head);
      continue;
    }
    for (const row of piece.rows) {
      const size = rowBytesOf(row);
      if (rows.length > 0 && bytes + size > LIMITS.snapshotChunkBytesMax) {
        yield sealRows(part++, rows, bytes);
        rows = [];
        bytes = 0;
      }
      rows.push(row);
      bytes += size;
    }
    count += piece.rows.length;
  }
  if (rows.length > 0) yield sealRows(part++, rows, bytes);
  yield sealEnd(part, count);
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
    const chunk = openChunk(bytes);
    if (chunk.part !== expected || ended || (chunk.kind === KINDS.head) !== (chunk.part === 0)) {
      throw corrupt(`part ${chunk.part} is out of place`);
    }
    expected += 1;
    if (chunk.kind === KINDS.head) yield { head: chunk.head };
    else if (chunk.kind === KINDS.rows) {
      const found = rowsIn(chunk.body);
      rows += found.length;
      yield { rows: found };
    } else {
      ended = chunk.rows === rows;
      if (!ended) throw corrupt(`${rows} rows arrived of ${chunk.rows}`);
    }
  }
  if (!ended) throw corrupt('it ends early');
}

function corrupt(what: string): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `snapshot: ${what}`);
}
