/**
 * Reads a state's database from its closed files: checks files and rows, and packs keys and values as they
 * will be held. It runs in a thread of its own and blocks that.
 */
import { readLevelFolder } from '../../leveldb/index.ts';
import { decodeRow } from '../row-codec.ts';
import { HEAD_KEY, type Place, type StateHead } from '../state-rows.ts';
import { KeyValueTable, isKeyValue, type KeyValueParts } from '../key-values/key-value-table.ts';

const HEAD = Buffer.from(HEAD_KEY);
const PLUS = 0x2b;

/** A row as it is stored. */
export type RowBytes = readonly [fullKey: string, row: Uint8Array];

export interface StateParts {
  /** Undefined if these rows are among the others. */
  readonly keyValues: KeyValueParts | undefined;
  /** Rows of all other tables, not checked yet, the head among them. */
  readonly rows: readonly RowBytes[];
}

/** @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `STORAGE_FAILED`. */
export function readState(folder: string): StateParts {
  const table = new KeyValueTable();
  const sorted: number[] = [];
  const rows: RowBytes[] = [];
  let place: Place = '';
  readLevelFolder(folder, (key, row) => {
    if (HEAD.equals(key)) {
      // It comes first.
      place = (decodeRow(HEAD_KEY, row).record as StateHead).place ?? '';
      rows.push([HEAD_KEY, Uint8Array.from(row)]);
      return;
    }
    if ((key[0] === PLUS ? '+' : '') !== place) return;
    const fullKey = key.subarray(place.length);
    if (isKeyValue(fullKey)) table.loadSorted(fullKey, row, sorted);
    else rows.push([fullKey.toString(), Uint8Array.from(row)]);
  });
  return { keyValues: table.parts(sorted), rows };
}

/** The buffers that are moved to another thread, not copied. */
export function buffersOf({ keyValues }: StateParts): ArrayBuffer[] {
  if (keyValues === undefined) return [];
  const { rows, index, sorted } = keyValues;
  const buffers = [sorted.buffer, rows.places.buffer, index.hashes.buffer];
  for (const slab of rows.slabs) if (slab !== undefined) buffers.push(slab.buffer);
  for (const cells of index.cells) if (cells !== undefined) buffers.push(cells.buffer);
  return buffers;
}
