/**
 * Rows of LevelDB's files, each file's in key order, newest version of a key first: of tables
 * (leveldb, doc/table_format.md, table/block_builder.cc) and of write-ahead logs (db/write_batch.cc).
 */
import { TidemarkError } from '../base/index.ts';
import { Cursor } from './cursor.ts';
import { copyShort } from './short-bytes.ts';
import type { Block } from './table-file.ts';

/** Behind each key in a table: the number of the write and its kind, 8 bytes. */
const TRAILER_BYTES = 8;
const KIND_PUT = 1;
/** Before the writes of a batch: the number of the first and how many there are. */
const BATCH_HEAD_BYTES = 12;

/** A row where it was read: an object or two for each of a million rows would cost more than reading them. */
export interface RowInFile {
  /** Key bytes `[0, keyBytes)`. */
  readonly key: Buffer;
  readonly keyBytes: number;
  /** What holds the value, in bytes `[valueAt, valueEnd)`. */
  readonly file: Buffer;
  readonly valueAt: number;
  readonly valueEnd: number;
}

/** One sorted sequence of rows, and the row at which it stands. */
export interface Run extends RowInFile {
  readonly sequence: number;
  readonly deleted: boolean;
  /** Goes to the next row; false at the end. */
  next(): boolean;
}

/** What is read of a table when its turn comes. */
export type OpenTable = () => { readonly file: Buffer; readonly blocks: readonly Block[] };

/** Tables that do not overlap, in key order. */
export class TableRun implements Run {
  key: Buffer = Buffer.alloc(256);
  keyBytes = 0;
  sequence = 0;
  deleted = false;
  file: Buffer = Buffer.alloc(0);
  valueAt = 0;
  valueEnd = 0;
  readonly #tables: readonly OpenTable[];
  #table = 0;
  #blocks: readonly Block[] = [];
  #block = 0;
  #at = 0;
  #end = 0;

  constructor(tables: readonly OpenTable[]) {
    this.#tables = tables;
  }

  next(): boolean {
    while (this.#at >= this.#end) if (!this.#openBlock()) return false;
    const shared = this.#varint();
    const rest = this.#varint();
    const valueBytes = this.#varint();
    const length = shared + rest;
    const valueAt = this.#at + rest;
    if (
      length < TRAILER_BYTES ||
      shared > this.keyBytes + TRAILER_BYTES ||
      valueAt + valueBytes > this.#end
    ) {
      throw new TidemarkError('DATA_CORRUPT', 'a row is cut off');
    }
    if (length > this.key.length) this.key = Buffer.concat([this.key], 2 * length);
    copyShort(this.file, { from: this.#at, to: valueAt }, this.key, shared);
    this.keyBytes = length - TRAILER_BYTES;
    const low = this.key.readUInt32LE(this.keyBytes);
    this.sequence = this.key.readUInt32LE(this.keyBytes + 4) * 2 ** 24 + (low >>> 8);
    this.deleted = (low & 0xff) !== KIND_PUT;
    this.valueAt = valueAt;
    this.valueEnd = valueAt + valueBytes;
    this.#at = this.valueEnd;
    return true;
  }

  #openBlock(): boolean {
    while (this.#block >= this.#blocks.length) {
      const open = this.#tables[this.#table++];
      if (open === undefined) return false;
      ({ file: this.file, blocks: this.#blocks } = open());
      this.#block = 0;
    }
    const { offset, size } = this.#blocks[this.#block++] ?? { offset: 0, size: 0 };
    // At the end of a block lie its restart points, 4 bytes each, and their count.
    const restarts = size < 4 ? 0 : this.file.readUInt32LE(offset + size - 4);
    this.#at = offset;
    this.#end = offset + size - 4 - restarts * 4;
    this.keyBytes = 0;
    return true;
  }

  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 32; shift += 7) {
      const byte = this.file[this.#at++] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new TidemarkError('DATA_CORRUPT', 'a number is cut off');
  }
}

interface Written {
  readonly key: Buffer;
  readonly sequence: number;
  readonly value: Buffer | undefined;
}

/** What the write-ahead logs hold: the last write of each key. */
export class LogRun implements Run {
  #rows: readonly Written[];
  #at = -1;

  /** @param records of all logs, in the order in which they were written */
  constructor(records: readonly Buffer[]) {
    const rows = new Map<string, Written>();
    for (const record of records) readBatch(record, rows);
    this.#rows = [...rows.values()].sort((left, right) => left.key.compare(right.key));
  }

  get #row(): Written {
    return this.#rows[this.#at] ?? NO_ROW;
  }
  get key(): Buffer {
    return this.#row.key;
  }
  get keyBytes(): number {
    return this.#row.key.length;
  }
  get sequence(): number {
    return this.#row.sequence;
  }
  get deleted(): boolean {
    return this.#row.value === undefined;
  }
  get file(): Buffer {
    return this.#row.value ?? NO_ROW.key;
  }
  get valueAt(): number {
    return 0;
  }
  get valueEnd(): number {
    return this.file.length;
  }

  next(): boolean {
    this.#at += 1;
    return this.#at < this.#rows.length;
  }
}

const NO_ROW: Written = { key: Buffer.alloc(0), sequence: 0, value: undefined };

function readBatch(record: Buffer, rows: Map<string, Written>): void {
  if (record.length < BATCH_HEAD_BYTES) throw new TidemarkError('DATA_CORRUPT', 'a batch is cut off');
  let sequence = Number(record.readBigUInt64LE(0));
  const cursor = new Cursor(record.subarray(BATCH_HEAD_BYTES));
  while (!cursor.done) {
    const kind = cursor.slice(1)[0];
    const key = cursor.slice();
    const value = kind === KIND_PUT ? cursor.slice() : undefined;
    rows.set(key.toString('latin1'), { key, sequence, value });
    sequence += 1;
  }
}
