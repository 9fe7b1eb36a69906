/**
 * What lies in the state's database: a head, and the rows of one state. Rows have one of two places, told by
 * how their keys begin, and the head says which of them is the state: the other one is where a snapshot is
 * put together, or what is left of an older state.
 */
import { TidemarkError } from '../base/index.ts';
import type { RowBytes, StateParts } from './load/read-state.ts';
import { decodeRow, encodeRow } from './row-codec.ts';
import type { DatabaseSnapshot, RowIterator, StateDatabase } from './state-database.ts';

/** Sorts before every table's name. */
export const HEAD_KEY = '!head';

/** What each batch says about itself: where the state stands, and which batch it follows. */
export interface StateHead {
  readonly clusterId: string;
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  readonly digest: string;
  /** Applied index of the batch before; -1 in the first one. */
  readonly previousIndex: number;
  /** The state came as a snapshot, and nothing was applied after it. */
  readonly installed?: boolean;
  /** Where its rows are; absent where the first one is meant. */
  readonly place?: Place;
}

export interface StoredRowBytes {
  readonly fullKey: string;
  readonly bytes: Uint8Array;
}

/** A state as it is read: its head, then its rows, some at a time: a promise for each would cost more. */
export type StatePiece = { readonly head: StateHead } | { readonly rows: readonly StoredRowBytes[] };

/** Rows that are read together, at most, and their bytes: a millisecond of the event loop. */
const READ_ROWS = 500;
const READ_BYTES = 128 * 1024;

/** What keys begin with: the names of tables are letters. */
export const PLACES = ['', '+'] as const;
export type Place = (typeof PLACES)[number];

export const otherPlace = (place: Place): Place => (place === '' ? '+' : '');
export const placeOfKey = (key: string): Place => (key.startsWith('+') ? '+' : '');
export const rangeOf = (place: Place): { readonly gte: string; readonly lt: string } =>
  place === '' ? { gte: 'a', lt: '{' } : { gte: '+', lt: ',' };

export async function readParts(db: StateDatabase): Promise<StateParts> {
  const rows: RowBytes[] = [];
  for await (const piece of readRows(db, {})) {
    if ('head' in piece) rows.push([HEAD_KEY, encodeRow(HEAD_KEY, piece.head).bytes]);
    else for (const { fullKey, bytes } of piece.rows) rows.push([fullKey, bytes]);
  }
  return { keyValues: undefined, rows };
}

/** Reads the head, then the rows of the state that it is the head of. */
export async function* readRows(
  db: StateDatabase,
  options: { readonly snapshot?: DatabaseSnapshot },
): AsyncGenerator<StatePiece, void, undefined> {
  let place: Place = '';
  const iterator = db.iterator({ ...options, highWaterMarkBytes: READ_BYTES });
  try {
    for (;;) {
      const found = await next(iterator);
      if (found.length === 0) return;
      const rows: StoredRowBytes[] = [];
      for (const [key, bytes] of found) {
        if (key === HEAD_KEY) {
          const head = decodeRow(key, bytes).record as StateHead;
          place = head.place ?? '';
          yield { head };
        } else if (placeOfKey(key) === place) {
          rows.push({ fullKey: key.slice(place.length), bytes });
        }
      }
      if (rows.length > 0) yield { rows };
    }
  } finally {
    await iterator.close();
  }
}

async function next(iterator: RowIterator): Promise<[string, Uint8Array][]> {
  try {
    return await iterator.nextv(READ_ROWS);
  } catch (cause) {
    throw new TidemarkError('DATA_CORRUPT', 'the state cannot be read', { cause });
  }
}
