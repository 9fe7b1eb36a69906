/**
 * The log's database on disk: LevelDB. Its errors are mapped to codes that name the folder and what to do.
 */
import { Level } from 'level';
import { TidemarkError, isTidemarkError, type ErrorCode } from '../../base/index.ts';
import { checkLevelFolder } from '../../leveldb/index.ts';
import type { KeyRange, KeyValueBatch, KeyValueStore } from './key-value.ts';

const WRITE_BUFFER_BYTES = 16 * 1024 * 1024;
const SCAN_RECORDS = 1_000;

type Database = Level<Uint8Array, Uint8Array>;

/**
 * Opens the database of `folder`, or makes it.
 * @throws TidemarkError `DATA_IN_USE`, `DATA_CORRUPT`, `STORAGE_FAILED`.
 */
export async function openLevelKeyValue(folder: string): Promise<KeyValueStore> {
  checkFiles(folder);
  const db: Database = new Level(folder, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    writeBufferSize: WRITE_BUFFER_BYTES,
    // Entries are mostly text of users and could shrink, but every write would pay for it, and the check
    // before the next open reads plain blocks.
    compression: false,
  });
  try {
    await db.open();
  } catch (error) {
    throw openError(error, folder);
  }
  return new LevelKeyValue(db, folder);
}

function checkFiles(folder: string): void {
  try {
    checkLevelFolder(folder);
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    const next = error.code === 'STORAGE_FAILED' ? DISK_NEXT : DAMAGED_NEXT;
    throw new TidemarkError(error.code, `the log in ${folder}: ${error.message}`, { next, cause: error });
  }
}

class LevelKeyValue implements KeyValueStore {
  readonly #db: Database;
  readonly #folder: string;

  constructor(db: Database, folder: string) {
    this.#db = db;
    this.#folder = folder;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      return await this.#db.get(key);
    } catch (error) {
      throw readError(error, this.#folder);
    }
  }

  async scan(range: KeyRange, visit: (key: Uint8Array, value: Uint8Array) => boolean): Promise<void> {
    const iterator = this.#db.iterator({ ...range, highWaterMarkBytes: 1024 * 1024 });
    try {
      for (;;) {
        const records = await iterator.nextv(SCAN_RECORDS);
        if (records.length === 0) return;
        for (const [key, value] of records) if (!visit(key, value)) return;
      }
    } catch (error) {
      throw error instanceof TidemarkError ? error : readError(error, this.#folder);
    } finally {
      await iterator.close();
    }
  }

  async write(batch: KeyValueBatch, options: { readonly sync: boolean }): Promise<void> {
    const chained = this.#db.batch();
    for (const key of batch.deletes) chained.del(key);
    for (const [key, value] of batch.puts) chained.put(key, value);
    try {
      await chained.write({ sync: options.sync });
    } catch (cause) {
      throw new TidemarkError(
        'STORAGE_FAILED',
        `the log in ${this.#folder} cannot be written: ${textOf(cause)}`,
        {
          next: 'Look at the disk (space, errors), then start the process again.',
          cause,
        },
      );
    }
  }

  close(): Promise<void> {
    return this.#db.close();
  }
}

/** LevelDB wraps what went wrong: its own code is on the cause. */
function codesOf(error: unknown): readonly string[] {
  const codes: string[] = [];
  let current: unknown = error;
  while (current instanceof Error) {
    if ('code' in current && typeof current.code === 'string') codes.push(current.code);
    current = current.cause;
  }
  return codes;
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

function openError(error: unknown, folder: string): TidemarkError {
  const codes = codesOf(error);
  if (codes.includes('LEVEL_LOCKED')) {
    return new TidemarkError('DATA_IN_USE', `another process uses the log in ${folder}`, {
      next: 'Stop the other process, or give this one a folder of its own.',
      cause: error,
    });
  }
  const text = textOf(error);
  const damaged = codes.includes('LEVEL_CORRUPTION') || /corrupt|missing files|no such file/i.test(text);
  const code: ErrorCode = damaged ? 'DATA_CORRUPT' : 'STORAGE_FAILED';
  return new TidemarkError(code, `the log in ${folder} cannot be opened: ${text}`, {
    next: damaged ? DAMAGED_NEXT : DISK_NEXT,
    cause: error,
  });
}

function readError(error: unknown, folder: string): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `the log in ${folder} cannot be read: ${textOf(error)}`, {
    next: DAMAGED_NEXT,
    cause: error,
  });
}

const DISK_NEXT = 'Look at the folder (rights, space, disk errors), then start again.';

export const DAMAGED_NEXT =
  'Do not delete single files. Put the whole folder back from a copy made while the process was stopped, ' +
  'or start a new cluster from the others; this member must not vote with what is left.';
