/**
 * A key's row as it is stored and held: format version (1 byte), revision (6), writes since it was made (6),
 * the value, and the row's hash (8), over key and row, with the key's length as its seed.
 */
import { TidemarkError } from '../../base/index.ts';
import { STATE_FORMAT } from '../commands/records.ts';
import { hashBytes, type Hash64 } from '../row-hash.ts';
import type { Slot } from './packed-rows.ts';

const REVISION_AT = 1;
const VERSION_AT = 7;
const VALUE_AT = 13;
const HASH_BYTES = 8;
/** What a row takes besides key and value. */
export const ROW_EXTRA_BYTES = VALUE_AT + HASH_BYTES;

const found: Hash64 = { high: 0, low: 0 };

export function writeRow(
  { slab, keyAt, rowAt, end }: Slot,
  row: { readonly revision: number; readonly version: number; readonly value: Uint8Array },
): void {
  slab.bytes[rowAt] = STATE_FORMAT;
  writeNatural(slab.view, rowAt + REVISION_AT, row.revision);
  writeNatural(slab.view, rowAt + VERSION_AT, row.version);
  slab.bytes.set(row.value, rowAt + VALUE_AT);
  hashBytes(slab.view, { from: keyAt, to: end - HASH_BYTES }, rowAt - keyAt, found);
  slab.view.setUint32(end - HASH_BYTES, found.high);
  slab.view.setUint32(end - HASH_BYTES + 4, found.low);
}

/** The hash that the row says it has, in an object that the next call fills again. */
export function storedHash({ slab, end }: Slot): Readonly<Hash64> {
  found.high = slab.view.getUint32(end - HASH_BYTES);
  found.low = slab.view.getUint32(end - HASH_BYTES + 4);
  return found;
}

export function rowMatchesHash({ slab, keyAt, rowAt, end }: Slot): boolean {
  hashBytes(slab.view, { from: keyAt, to: end - HASH_BYTES }, rowAt - keyAt, found);
  const at = end - HASH_BYTES;
  return slab.view.getUint32(at) === found.high && slab.view.getUint32(at + 4) === found.low;
}

export const revisionOf = ({ slab, rowAt }: Slot): number => readNatural(slab.view, rowAt + REVISION_AT);
export const versionOf = ({ slab, rowAt }: Slot): number => readNatural(slab.view, rowAt + VERSION_AT);
export const valueBytesOf = ({ rowAt, end }: Slot): number => end - rowAt - ROW_EXTRA_BYTES;

/** A copy of the value. */
export function valueOf({ slab, rowAt, end }: Slot): Uint8Array {
  return Buffer.from(slab.bytes.subarray(rowAt + VALUE_AT, end - HASH_BYTES));
}

/** @throws TidemarkError `DATA_CORRUPT` for a row that is too short, `FORMAT_UNKNOWN` for a later one. */
export function checkRowForm(
  bytes: Uint8Array,
  { from, to }: { readonly from: number; readonly to: number },
  name: () => string,
): void {
  if (to - from < ROW_EXTRA_BYTES) throw new TidemarkError('DATA_CORRUPT', `state row ${name()}: cut off`);
  const format = bytes[from] ?? 0;
  if (format === STATE_FORMAT) return;
  throw new TidemarkError(
    'FORMAT_UNKNOWN',
    `state row ${name()} has format version ${format}; this program reads version ${STATE_FORMAT}`,
    { next: 'Use the version of Tidemark that wrote it, or upgrade.' },
  );
}

/** 48 bits: 280 million million. */
function writeNatural(view: DataView, at: number, value: number): void {
  view.setUint16(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 2, value % 2 ** 32);
}

function readNatural(view: DataView, at: number): number {
  return view.getUint16(at) * 2 ** 32 + view.getUint32(at + 2);
}
