/** Reads a snapshot file from disk: as a whole to check it, then chunk by chunk. */
import { createReadStream } from 'node:fs';
import { TidemarkError, isTidemarkError } from '../base/index.ts';
import { SnapshotParser } from './snapshot-parser.ts';
import type { SnapshotHeader } from './snapshot-format.ts';

export interface CheckedSnapshot {
  readonly header: SnapshotHeader;
  readonly bytes: number;
  /** 64 hex digits: the checksum of all of it, which its last record holds. */
  readonly sha256: string;
}

/**
 * Reads a whole file and checks its checksums.
 * @throws TidemarkError `FILE_UNREADABLE`, `SNAPSHOT_INVALID`, `FORMAT_UNKNOWN`.
 */
export async function checkSnapshotFile(path: string): Promise<CheckedSnapshot> {
  const parser = new SnapshotParser(path);
  let bytes = 0;
  for await (const piece of readFile(path)) {
    parser.push(piece);
    bytes += piece.length;
  }
  const { header, sha256 } = parser.finish();
  return { header, bytes, sha256 };
}

/**
 * Reads the chunks of the state in a file. Only when it has ended without an error they were all of them.
 * @throws TidemarkError as {@link checkSnapshotFile}.
 */
export async function* snapshotFileChunks(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  const parser = new SnapshotParser(path);
  for await (const piece of readFile(path)) yield* parser.push(piece);
  parser.finish();
}

async function* readFile(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for await (const piece of createReadStream(path, { highWaterMark: 256 * 1024 })) {
      yield piece as Uint8Array;
    }
  } catch (error) {
    if (isTidemarkError(error)) throw error;
    throw new TidemarkError('FILE_UNREADABLE', `${path} cannot be read: ${String(error)}`, { cause: error });
  }
}
