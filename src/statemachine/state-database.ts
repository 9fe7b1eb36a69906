/**
 * The database under the state: what is used of it, and LevelDB as it is opened. LevelDB does not check its
 * checksums: the files are read and checked by ourselves before each open.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { Level } from 'level';
import { isTidemarkError, mutated, TidemarkError, toTidemarkError } from '../base/index.ts';
import { loadState } from './load/load-state.ts';
import type { StateParts } from './load/read-state.ts';

/** What of `level` the state uses: the simulator's disk offers the same. */
export interface StateDatabase {
  batch(): StateBatch;
  /** More keys may come than those in the range. */
  keys(range: { readonly gte: string; readonly lt: string }): AsyncIterable<string>;
  snapshot(): DatabaseSnapshot;
  /** Rows of more than so many bytes are not read ahead. */
  iterator(options: {
    readonly snapshot?: DatabaseSnapshot;
    readonly highWaterMarkBytes?: number;
  }): RowIterator;
  /** Writes what is in memory to a synced table first. `level` has it in Node.js and does not say so. */
  compactRange(start: string, end: string): Promise<void>;
  close(): Promise<void>;
}

/** Many changes that are written as one, or not at all. */
export interface StateBatch {
  put(key: string, value: Uint8Array): this;
  del(key: string): this;
  write(options?: { readonly sync?: boolean }): Promise<void>;
}

export interface DatabaseSnapshot {
  close(): Promise<void>;
}

export interface RowIterator {
  nextv(size: number): Promise<[string, Uint8Array][]>;
  close(): Promise<void>;
}

/**
 * Opens the database in a folder whose files were checked; `fresh` if there was none, or none with a row.
 * @throws TidemarkError `DATA_IN_USE`, `DATA_CORRUPT`, `STORAGE_FAILED`.
 */
export type OpenDatabase = (folder: string) => Promise<OpenedDatabase>;

export interface OpenedDatabase {
  readonly db: StateDatabase;
  readonly fresh: boolean;
  /** All rows, where they were read from the files: else they are read from `db`. */
  readonly parts?: StateParts | undefined;
}

export const openLevelDatabase: OpenDatabase = async (folder) => {
  const unmade = makeFolder(folder);
  const parts = unmade ? undefined : await loadParts(folder);
  // Whether there should be a state is told from the log, which begins before or after what is applied.
  const fresh = unmade || (parts === undefined && !mutated('state.emptyDatabaseRefused'));
  // The files are read as plain blocks.
  const db: Level<string, Uint8Array> = new Level(folder, {
    keyEncoding: 'utf8',
    valueEncoding: 'view',
    compression: false,
  });
  try {
    await db.open({ createIfMissing: unmade });
  } catch (error) {
    throw openError(error, folder, unmade);
  }
  return { db: db as unknown as StateDatabase, fresh, parts };
};

/** Files that LevelDB makes before the one that names the present version: a crash may leave any of them. */
const BEFORE_FIRST_VERSION = /^(LOCK|LOG|LOG\.old|MANIFEST-\d+|\d+\.dbtmp)$/;

/**
 * Returns whether the making of a database is still to come or to be done again. In one go, so that the
 * thread that reads a state is under way when the caller goes on.
 */
function makeFolder(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true });
    return readdirSync(folder).every((name) => BEFORE_FIRST_VERSION.test(name));
  } catch (cause) {
    throw new TidemarkError('STORAGE_FAILED', `the state folder ${folder} cannot be made`, { cause });
  }
}

async function loadParts(folder: string): Promise<StateParts | undefined> {
  try {
    return await loadState(folder);
  } catch (error) {
    if (!isTidemarkError(error, 'DATA_CORRUPT', 'FORMAT_UNKNOWN')) throw error;
    throw damagedState(folder, error.message, error);
  }
}

export function damagedState(folder: string, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `the state in ${folder} is damaged: ${what}`, {
    next:
      'Stop this coordinator, empty its state folder, and start it again: the state is made anew of its ' +
      'log, or fetched from the others, who must be a majority that has caught up.',
    cause,
  });
}

function openError(error: unknown, folder: string, unmade: boolean): TidemarkError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const code = (cause as { readonly code?: unknown }).code;
  if (code === 'LEVEL_LOCKED') {
    return new TidemarkError('DATA_IN_USE', `another process uses ${folder}`, {
      cause,
      next: 'Stop the other process, or start this one with another data folder.',
    });
  }
  const { message } = toTidemarkError(cause);
  // The files were found whole before: what the disk refuses now says nothing about them.
  if (unmade || (code === 'LEVEL_IO_ERROR' && !/no such file/i.test(message))) {
    return new TidemarkError('STORAGE_FAILED', `the state in ${folder} cannot be opened: ${message}`, {
      next: 'Look at the folder (rights, space, disk errors), then start again.',
      cause,
    });
  }
  return damagedState(folder, message);
}
