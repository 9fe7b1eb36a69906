/** What a manifest says about the files in use (leveldb, db/version_edit.cc). */
import { TidemarkError } from '../base/index.ts';
import { Cursor } from './cursor.ts';

const TAG = {
  comparator: 1,
  logNumber: 2,
  nextFileNumber: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  prevLogNumber: 9,
} as const;

export interface TableInUse {
  readonly number: number;
  readonly bytes: number;
  /** Tables of level 0 overlap; those of any other level do not. */
  readonly level: number;
  /** The first key in the table, with LevelDB's own 8 bytes at its end. */
  readonly smallest: Buffer;
}

export interface FilesInUse {
  /** By file number. */
  readonly tables: ReadonlyMap<number, TableInUse>;
  /** Write-ahead logs from this number on are replayed at the next open. */
  readonly logNumber: number;
}

export function filesInUse(records: readonly Buffer[]): FilesInUse {
  const tables = new Map<number, TableInUse>();
  let logNumber = 0;
  for (const record of records) {
    const cursor = new Cursor(record);
    while (!cursor.done) logNumber = readEdit(cursor, tables) ?? logNumber;
  }
  return { tables, logNumber };
}

/** Takes one field of an edit; returns the log number if it is one. */
function readEdit(cursor: Cursor, tables: Map<number, TableInUse>): number | undefined {
  const tag = cursor.varint();
  switch (tag) {
    case TAG.comparator:
      cursor.slice();
      return undefined;
    case TAG.logNumber:
      return cursor.varint();
    case TAG.nextFileNumber:
    case TAG.lastSequence:
    case TAG.prevLogNumber:
      cursor.varint();
      return undefined;
    case TAG.compactPointer:
      cursor.varint();
      cursor.slice();
      return undefined;
    case TAG.deletedFile:
      cursor.varint();
      tables.delete(cursor.varint());
      return undefined;
    case TAG.newFile: {
      const level = cursor.varint();
      const number = cursor.varint();
      const bytes = cursor.varint();
      const smallest = cursor.slice();
      cursor.slice();
      tables.set(number, { number, bytes, level, smallest });
      return undefined;
    }
    default:
      throw new TidemarkError('DATA_CORRUPT', `an unknown field ${tag}`);
  }
}
