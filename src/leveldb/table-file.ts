/**
 * LevelDB's table format (leveldb, doc/table_format.md): blocks, each followed by its compression (1 byte)
 * and its checksum (4), and a footer with the places of two of them. Every byte of a table but its padding is
 * covered by the checksum of a block, and the blocks lie without a gap.
 */
import { TidemarkError } from '../base/index.ts';
import { maskedCrc32c } from './crc32c.ts';
import { Cursor } from './cursor.ts';

const FOOTER_BYTES = 48;
const TRAILER_BYTES = 5;
const MAGIC = Buffer.from('57fb808b247547db', 'hex');

export interface Block {
  readonly offset: number;
  readonly size: number;
}

/**
 * Returns the blocks that hold rows, in the order of their keys.
 * @throws TidemarkError `DATA_CORRUPT` unless every block of the table matches its checksum.
 */
export function checkTable(file: Buffer): readonly Block[] {
  const footer = file.subarray(-FOOTER_BYTES);
  if (footer.length < FOOTER_BYTES || !footer.subarray(-MAGIC.length).equals(MAGIC)) {
    throw new TidemarkError('DATA_CORRUPT', 'it does not end as a table does');
  }
  const cursor = new Cursor(footer);
  const meta = readHandle(cursor);
  const index = readHandle(cursor);
  const rows = handlesIn(blockAt(file, index));
  const blocks = [...rows, ...handlesIn(blockAt(file, meta)), meta, index];
  let end = 0;
  for (const block of blocks.sort((left, right) => left.offset - right.offset)) {
    if (block.offset !== end) throw new TidemarkError('DATA_CORRUPT', `no block at byte ${end}`);
    blockAt(file, block);
    end = block.offset + block.size + TRAILER_BYTES;
  }
  if (end !== file.length - FOOTER_BYTES) throw new TidemarkError('DATA_CORRUPT', 'its blocks end too early');
  return rows;
}

function readHandle(cursor: Cursor): Block {
  return { offset: cursor.varint(), size: cursor.varint() };
}

function blockAt(file: Buffer, { offset, size }: Block): Buffer {
  const end = offset + size;
  if (end + TRAILER_BYTES > file.length)
    throw new TidemarkError('DATA_CORRUPT', 'a block lies beyond its end');
  if (maskedCrc32c(file, offset, end + 1) !== file.readUInt32LE(end + 1)) {
    throw new TidemarkError('DATA_CORRUPT', `the block at byte ${offset} does not match its checksum`);
  }
  if (file[end] !== 0)
    throw new TidemarkError('FORMAT_UNKNOWN', 'a compressed block, which is never written');
  return file.subarray(offset, end);
}

/**
 * The values of an index block are places of blocks. At its end lie restart points, 4 bytes each, and their
 * count.
 */
function handlesIn(block: Buffer): readonly Block[] {
  if (block.length < 4) throw new TidemarkError('DATA_CORRUPT', 'an index is cut off');
  const restarts = block.readUInt32LE(block.length - 4);
  const cursor = new Cursor(block.subarray(0, Math.max(0, block.length - 4 - restarts * 4)));
  const handles: Block[] = [];
  while (!cursor.done) {
    cursor.varint();
    const keyBytes = cursor.varint();
    const valueBytes = cursor.varint();
    cursor.slice(keyBytes);
    handles.push(readHandle(new Cursor(cursor.slice(valueBytes))));
  }
  return handles;
}
