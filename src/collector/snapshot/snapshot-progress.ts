/**
 * How far the snapshot of a source has come (design 6.5): its tables are copied one after the other, each in
 * the order of its primary key, a chunk at a time. Of what the log tells, only images of rows that are copied
 * count: those of the others are in the chunk that comes to them.
 */
import { TidemarkError, mutated, must } from '../../base/index.ts';
import { cursorText, readCursor, type CapturedTable } from '../../job/index.ts';
import type { RowValues, SnapshotPlace } from '../change-source.ts';
import { hasKnownOrder, isUpTo, keyOf, keyTexts, parseKey, type RowKey } from './key-order.ts';

/** The text of a snapshot that is finished. */
const FINISHED = '';

export class SnapshotProgress {
  #tables: readonly CapturedTable[];
  /** Tables before this one are copied, those behind it are not. */
  #table: number;
  /** The last key of that table that is copied; undefined: none. */
  #key: RowKey | undefined;

  /** Goes on from a cursor; without one nothing is copied yet. @throws TidemarkError `DATA_CORRUPT`. */
  constructor(tables: readonly CapturedTable[], cursor: string | undefined) {
    this.#tables = tables;
    this.#table = cursor === FINISHED ? tables.length : 0;
    if (cursor === undefined || cursor === FINISHED) return;
    const { table, key } = readCursor(cursor);
    this.#table = tables.findIndex((one) => one.table === table);
    const begun = tables[this.#table];
    if (begun === undefined) {
      throw new TidemarkError('DATA_CORRUPT', `the snapshot is at ${table}: no such table`);
    }
    this.#key = key.length === 0 ? undefined : parseKey(begun, key);
  }

  get finished(): boolean {
    return this.#table >= this.#tables.length;
  }

  /** What a seal carries (table, last key copied); empty when all is copied. */
  get cursor(): string {
    if (this.finished) return FINISHED;
    const { table } = must(this.#tables[this.#table], 'the table at the cursor');
    return cursorText({ table, key: keyTexts(this.#key ?? []) });
  }

  /** Where the next chunk begins. */
  get place(): SnapshotPlace {
    return { table: this.#table, after: this.#key };
  }

  /** The definitions of the same tables, in the same order. */
  redefine(tables: readonly CapturedTable[]): void {
    this.#tables = tables;
  }

  /** Whether this row is copied, so that its images count. */
  holds(table: number, row: RowValues): boolean {
    if (table !== this.#table) return table < this.#table;
    if (mutated('collector.imagesBeyondCursor')) return true;
    if (this.#key === undefined) return false;
    return isUpTo(must(this.#tables[table], 'a captured table'), row, this.#key);
  }

  /** Takes a batch of rows, in key order, as copied. */
  copied(table: number, rows: readonly RowValues[]): void {
    const last = this.lastKey(table, rows);
    if (table !== this.#table) this.#key = undefined;
    this.#table = table;
    if (last !== undefined) this.#key = last;
  }

  /** The key that a batch of a table ends with; undefined where a chunk cannot end within that table. */
  lastKey(table: number, rows: readonly RowValues[]): RowKey | undefined {
    const last = rows.at(-1);
    const captured = must(this.#tables[table], 'a captured table');
    return last === undefined || !hasKnownOrder(captured) ? undefined : keyOf(captured, last);
  }

  /**
   * Whether a chunk may end within the table it has come to. That takes a key whose order is known here; any
   * other table is copied as one chunk.
   */
  get mayRest(): boolean {
    return hasKnownOrder(must(this.#tables[this.#table], 'the table at the cursor'));
  }

  finish(): void {
    this.#table = this.#tables.length;
    this.#key = undefined;
  }
}

/**
 * Where a chunk's position lies from what was read. A log may tell of a transaction before a snapshot shows
 * it: such a chunk is `older` and lacks images that did not count when they were read.
 */
export function chunkStands(
  includes: (position: string, other: string) => boolean,
  read: string,
  chunk: string,
): 'older' | 'ahead' | 'here' {
  if (!includes(chunk, read) && !mutated('collector.olderChunkTaken')) return 'older';
  return includes(read, chunk) || mutated('collector.chunkBeforeItsPosition') ? 'here' : 'ahead';
}
