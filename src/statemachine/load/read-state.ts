/**
 * Reads a state's database from its closed files: checks files and rows, and packs keys and values as they
 * will be held. It runs in a thread of its own and blocks that.
 */
import { readLevelFolder, type RowInFile } from '../../leveldb/index.ts';
import { decodeRow } from '../row-codec.ts';
import { HEAD_KEY, type Place, type StateHead } from '../state-rows.ts';
import { KeyValueLoader } from '../key-values/key-value-loader.ts';
import { KEY_VALUE_PREFIX, type KeyValueParts } from '../key-values/key-value-table.ts';

const HEAD = Buffer.from(HEAD_KEY);
const KEY_VALUE = Buffer.from(KEY_VALUE_PREFIX);
const PLUS = 0x2b;

/** A row as it is stored. */
export type RowBytes = readonly [fullKey: string, row: Uint8Array];

export interface StateParts {
  /** Undefined if these rows are among the others. */
  readonly keyValues: KeyValueParts | undefined;
  /** Rows of all other tables, not checked yet, the head among them. */
  readonly rows: readonly RowBytes[];
  /** Where and why the newest writes were cut off; undefined if they were not. */
  readonly cut?: string | undefined;
}

/**
 * Returns undefined for a database without any row: it was made, and its first write did not follow.
 * @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `STORAGE_FAILED`.
 */
export function readState(folder: string): StateParts | undefined {
  const keyValues = new KeyValueLoader();
  const rows: RowBytes[] = [];
  let place: Place = '';
  let visited = 0;
  const found = readLevelFolder(folder, (row) => {
    visited++;
    const { key, keyBytes, file, valueAt, valueEnd } = row;
    if (keyBytes === HEAD.length && beginsWith(row, HEAD, 0)) {
      // It comes first.
      const bytes = Uint8Array.from(file.subarray(valueAt, valueEnd));
      place = (decodeRow(HEAD_KEY, bytes).record as StateHead).place ?? '';
      rows.push([HEAD_KEY, bytes]);
      return;
    }
    if ((key[0] === PLUS ? '+' : '') !== place) return;
    const keyAt = place.length;
    if (beginsWith(row, KEY_VALUE, keyAt)) keyValues.add(row, keyAt);
    else
      rows.push([key.toString('utf8', keyAt, keyBytes), Uint8Array.from(file.subarray(valueAt, valueEnd))]);
  });
  return visited === 0 ? undefined : { keyValues: keyValues.parts(), rows, cut: found?.cut };
}

function beginsWith({ key, keyBytes }: RowInFile, text: Uint8Array, at: number): boolean {
  if (keyBytes - at < text.length) return false;
  for (let i = 0; i < text.length; i++) if (key[at + i] !== text[i]) return false;
  return true;
}

/** The buffers that are moved to another thread, not copied. */
export function buffersOf({ keyValues }: StateParts): ArrayBuffer[] {
  if (keyValues === undefined) return [];
  const { rows, index } = keyValues;
  const buffers = [rows.places.buffer, index.hashes.buffer];
  for (const slab of rows.slabs) if (slab !== undefined) buffers.push(slab.buffer);
  for (const cells of index.cells) if (cells !== undefined) buffers.push(cells.buffer);
  return buffers;
}
