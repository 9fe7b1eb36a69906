/**
 * LevelDB's log format, of its write-ahead logs and its manifest (leveldb, doc/log_format.md): blocks of 32
 * KiB, in them pieces of records, each with checksum (4 bytes), length (2) and kind (1).
 *
 * A last piece that the file's end cuts off is what a crash leaves behind. LevelDB drops it, and so does
 * this.
 */
import { TidemarkError } from '../base/index.ts';
import { maskedCrc32c } from './crc32c.ts';

const BLOCK_BYTES = 32 * 1024;
const HEADER_BYTES = 7;
const KIND_FULL = 1;
const KIND_FIRST = 2;
const KIND_LAST = 4;

interface Piece {
  readonly kind: number;
  readonly data: Buffer;
  readonly next: number;
}

/** A record, and where the next one begins. */
export interface RecordInFile {
  readonly data: Buffer;
  readonly end: number;
}

/** Returns the records of a file. @throws TidemarkError `DATA_CORRUPT` for damage before the end. */
export function readRecords(file: Buffer): readonly Buffer[] {
  return Array.from(recordsOf(file), ({ data }) => data);
}

/** Reads record by record. @throws TidemarkError `DATA_CORRUPT` for damage before the end. */
export function* recordsOf(file: Buffer): Generator<RecordInFile, void, undefined> {
  let open: Buffer[] = [];
  for (let piece = pieceAt(file, 0); piece !== undefined; piece = pieceAt(file, piece.next)) {
    if (piece.kind === KIND_FULL || piece.kind === KIND_FIRST) open = [];
    open.push(piece.data);
    if (piece.kind !== KIND_FULL && piece.kind !== KIND_LAST) continue;
    yield { data: open.length === 1 ? piece.data : Buffer.concat(open), end: piece.next };
    open = [];
  }
}

/**
 * Checks a file that may be written to meanwhile, and yields after each piece.
 * @throws TidemarkError `DATA_CORRUPT` for damage before the end.
 */
export function* checkRecords(file: Buffer): Generator<number, void, undefined> {
  for (let piece = pieceAt(file, 0); piece !== undefined; piece = pieceAt(file, piece.next)) yield piece.next;
}

function pieceAt(file: Buffer, position: number): Piece | undefined {
  const left = BLOCK_BYTES - (position % BLOCK_BYTES);
  const at = left < HEADER_BYTES ? position + left : position;
  if (at + HEADER_BYTES > file.length) return undefined;
  const length = file.readUInt16LE(at + 4);
  const kind = file[at + 6] ?? 0;
  const end = at + HEADER_BYTES + length;
  if (kind === 0 && length === 0) {
    // Space that was given to the file but never written: nothing else may follow.
    if (file.subarray(at).every((byte) => byte === 0)) return undefined;
    throw new TidemarkError('DATA_CORRUPT', `zeros from byte ${at} on`);
  }
  if ((at % BLOCK_BYTES) + HEADER_BYTES + length > BLOCK_BYTES || kind > KIND_LAST) {
    throw new TidemarkError('DATA_CORRUPT', `a damaged record at byte ${at}`);
  }
  if (end > file.length) return undefined;
  if (maskedCrc32c(file, at + 6, end) !== file.readUInt32LE(at)) {
    throw new TidemarkError('DATA_CORRUPT', `a record at byte ${at} does not match its checksum`);
  }
  return { kind, data: file.subarray(at + HEADER_BYTES, end), next: end };
}
