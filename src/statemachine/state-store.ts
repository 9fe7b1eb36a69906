/**
 * The state's database: one LevelDB folder, written by one chained, atomic batch per applied group.
 *
 * Batches are not synced. What a power loss takes is the end of the database's own log, so what remains is
 * the state of an earlier group, and the Raft log, which is synced and reaches further, is applied again from
 * there. LevelDB does not check its checksums: before each open its files are compared with them, as those of
 * the log are. Each row carries a checksum of its own, and the digest in the head row shows a row that
 * vanished or came back.
 */
import { mkdir, readdir } from 'node:fs/promises';
import { Level } from 'level';
import { assert, isTidemarkError, mutated, TidemarkError, toTidemarkError } from '../base/index.ts';
import type { ClusterId } from '../base/index.ts';
import { loadState } from './load/load-state.ts';
import type { RowBytes, StateParts } from './load/read-state.ts';
import { MemoryState } from './memory-state.ts';
import { decodeRow, encodeRow, type RowChange } from './row-codec.ts';

/** Sorts before every table's name. */
const HEAD_KEY = '!head';

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
}

export interface StoredRowBytes {
  readonly fullKey: string;
  readonly bytes: Uint8Array;
}

/** What of `level` the state uses: the simulator's disk offers the same. */
export interface StateDatabase {
  batch(): StateBatch;
  keys(): AsyncIterable<string>;
  snapshot(): DatabaseSnapshot;
  iterator(options: { readonly snapshot?: DatabaseSnapshot }): RowIterator;
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
 * Opens the database in a folder whose files were checked; `fresh` if there was none.
 * @throws TidemarkError `DATA_IN_USE`, `DATA_CORRUPT`, `STORAGE_FAILED`.
 */
export type OpenDatabase = (folder: string) => Promise<OpenedDatabase>;

export interface OpenedDatabase {
  readonly db: StateDatabase;
  readonly fresh: boolean;
  /** All rows, where they were read from the files: else they are read from `db`. */
  readonly parts?: StateParts | undefined;
}

/** A database with all of its rows in memory. */
export interface OpenedState {
  readonly store: StateStore;
  readonly state: MemoryState;
}

export interface StateStoreOptions {
  /** The state's own folder; one process at a time. */
  readonly folder: string;
  readonly clusterId: ClusterId;
  /** @default LevelDB */
  readonly openDatabase?: OpenDatabase;
}

export class StateStore {
  readonly #db: StateDatabase;
  #head: StateHead;

  private constructor(db: StateDatabase, head: StateHead) {
    this.#db = db;
    this.#head = head;
  }

  get head(): StateHead {
    return this.#head;
  }

  /**
   * Opens the folder, making it if it does not exist or is empty, with the state that it holds.
   * @throws TidemarkError `DATA_IN_USE`, `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `DATA_OF_OTHER_CLUSTER`,
   * `STORAGE_FAILED`.
   */
  static async open(options: StateStoreOptions): Promise<OpenedState> {
    const { folder, clusterId, openDatabase = openLevelDatabase } = options;
    const { db, fresh, parts } = await openDatabase(folder);
    try {
      if (fresh) {
        return { store: new StateStore(db, await writeFirstHead(db, clusterId)), state: new MemoryState() };
      }
      const { state, head } = fill(folder, clusterId, parts ?? (await readParts(db)));
      if (parts !== undefined) await compareHeads(db, folder, head);
      return { store: new StateStore(db, head), state };
    } catch (error) {
      await db.close();
      throw error;
    }
  }

  /**
   * Writes the rows that one applied group changed, with the head that it leads to.
   * @throws TidemarkError `STORAGE_FAILED`; the process must end then.
   */
  async write(
    changes: readonly RowChange[],
    head: Pick<StateHead, 'appliedIndex' | 'appliedTerm' | 'digest'>,
  ): Promise<void> {
    assert(head.appliedIndex >= this.#head.appliedIndex, 'the applied index does not go back');
    const next: StateHead = {
      ...head,
      clusterId: this.#head.clusterId,
      previousIndex: this.#head.appliedIndex,
    };
    const batch = this.#db.batch();
    for (const { fullKey, bytes } of changes) {
      if (bytes === undefined) batch.del(fullKey);
      else batch.put(fullKey, bytes);
    }
    batch.put(HEAD_KEY, encodeRow(HEAD_KEY, next).bytes);
    try {
      await batch.write();
    } catch (cause) {
      throw new TidemarkError('STORAGE_FAILED', 'the state could not be written', { cause });
    }
    this.#head = next;
  }

  /**
   * Puts a snapshot's rows in the place of all others, in one synced batch.
   * @throws TidemarkError `STORAGE_FAILED`; the process must end then.
   */
  async replace(
    rows: readonly RowChange[],
    { appliedIndex, appliedTerm, digest }: Pick<StateHead, 'appliedIndex' | 'appliedTerm' | 'digest'>,
  ): Promise<void> {
    assert(appliedIndex >= this.#head.appliedIndex, 'the applied index does not go back');
    const { clusterId, appliedIndex: previousIndex } = this.#head;
    const next = { clusterId, appliedIndex, appliedTerm, digest, previousIndex, installed: true };
    try {
      const batch = this.#db.batch();
      for await (const key of this.#db.keys()) batch.del(key);
      for (const { fullKey, bytes } of rows) if (bytes !== undefined) batch.put(fullKey, bytes);
      batch.put(HEAD_KEY, encodeRow(HEAD_KEY, next).bytes);
      await batch.write({ sync: true });
    } catch (cause) {
      throw new TidemarkError('STORAGE_FAILED', 'the state could not be written', { cause });
    }
    this.#head = next;
  }

  /**
   * Makes everything that was written durable, and resolves with the applied index that surely is. A synced
   * write would not do: LevelDB may have begun another log file since, and syncs only that.
   */
  async flush(): Promise<number> {
    const { appliedIndex } = this.#head;
    try {
      await this.#db.compactRange(HEAD_KEY, HEAD_KEY);
    } catch (cause) {
      throw new TidemarkError('STORAGE_FAILED', 'the state could not be flushed', { cause });
    }
    return appliedIndex;
  }

  /** Reads head and rows as of one batch, whatever is written meanwhile. */
  async *read(): AsyncGenerator<{ readonly head: StateHead } | StoredRowBytes, void, undefined> {
    const snapshot = this.#db.snapshot();
    try {
      yield* readRows(this.#db, { snapshot });
    } finally {
      await snapshot.close();
    }
  }

  async close(): Promise<void> {
    await this.#db.close();
  }
}

const openLevelDatabase: OpenDatabase = async (folder) => {
  const fresh = await makeFolder(folder);
  const parts = fresh ? undefined : await loadParts(folder);
  // The files are read as plain blocks.
  const db: Level<string, Uint8Array> = new Level(folder, {
    keyEncoding: 'utf8',
    valueEncoding: 'view',
    compression: false,
  });
  try {
    await db.open({ createIfMissing: fresh });
  } catch (error) {
    throw openError(error, folder, fresh);
  }
  return { db: db as unknown as StateDatabase, fresh, parts };
};

async function makeFolder(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { recursive: true });
    return (await readdir(folder)).length === 0;
  } catch (cause) {
    throw new TidemarkError('STORAGE_FAILED', `the state folder ${folder} cannot be made`, { cause });
  }
}

async function loadParts(folder: string): Promise<StateParts> {
  try {
    return await loadState(folder);
  } catch (error) {
    if (!isTidemarkError(error, 'DATA_CORRUPT', 'FORMAT_UNKNOWN')) throw error;
    throw damaged(folder, error.message, error);
  }
}

/** The first head is synced: from then on a folder without one is damaged, not new. */
async function writeFirstHead(db: StateDatabase, clusterId: ClusterId): Promise<StateHead> {
  const head: StateHead = {
    clusterId,
    appliedIndex: 0,
    appliedTerm: 0,
    digest: '0'.repeat(16),
    previousIndex: -1,
  };
  try {
    await db.batch().put(HEAD_KEY, encodeRow(HEAD_KEY, head).bytes).write({ sync: true });
  } catch (cause) {
    throw new TidemarkError('STORAGE_FAILED', 'the state could not be written', { cause });
  }
  return head;
}

async function readParts(db: StateDatabase): Promise<StateParts> {
  const rows: RowBytes[] = [];
  for await (const row of readRows(db, {})) {
    if ('head' in row) rows.push([HEAD_KEY, encodeRow(HEAD_KEY, row.head).bytes]);
    else rows.push([row.fullKey, row.bytes]);
  }
  return { keyValues: undefined, rows };
}

/** @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `DATA_OF_OTHER_CLUSTER`. */
function fill(
  folder: string,
  clusterId: ClusterId,
  parts: StateParts,
): { readonly state: MemoryState; readonly head: StateHead } {
  const state = new MemoryState(parts.keyValues);
  let head: StateHead | undefined;
  for (const [fullKey, row] of parts.rows) {
    if (fullKey === HEAD_KEY) head = decodeRow(fullKey, row).record as StateHead;
    else state.loadRow(fullKey, row);
  }
  if (head === undefined) throw damaged(folder, 'its head row is missing');
  if (head.clusterId !== clusterId) {
    throw new TidemarkError(
      'DATA_OF_OTHER_CLUSTER',
      `${folder} holds the state of cluster ${head.clusterId}`,
      {
        next: `Start with the data folder of cluster ${clusterId}.`,
      },
    );
  }
  const digest = state.loaded();
  if (head.digest !== digest && !mutated('state.digestNotComparedAtOpen')) {
    throw damaged(folder, `its rows sum to ${digest}, its head says ${head.digest}`);
  }
  state.appliedIndex = head.appliedIndex;
  state.appliedTerm = head.appliedTerm;
  return { state, head };
}

/** The files were read by ourselves: the database must have come to the same end. */
async function compareHeads(db: StateDatabase, folder: string, head: StateHead): Promise<void> {
  const contents = readRows(db, {});
  const { value: first } = await contents.next();
  await contents.return();
  const same = first !== undefined && 'head' in first && first.head.digest === head.digest;
  if (!same || first.head.appliedIndex !== head.appliedIndex) {
    throw damaged(folder, 'its database stands elsewhere than its files say');
  }
}

async function* readRows(
  db: StateDatabase,
  options: { readonly snapshot?: DatabaseSnapshot },
): AsyncGenerator<{ readonly head: StateHead } | StoredRowBytes, void, undefined> {
  let rows: [string, Uint8Array][];
  const iterator = db.iterator(options);
  try {
    for (;;) {
      try {
        rows = await iterator.nextv(1_000);
      } catch (cause) {
        throw new TidemarkError('DATA_CORRUPT', 'the state cannot be read', { cause });
      }
      if (rows.length === 0) return;
      for (const [fullKey, bytes] of rows) {
        if (fullKey === HEAD_KEY) yield { head: decodeRow(fullKey, bytes).record as StateHead };
        else yield { fullKey, bytes };
      }
    }
  } finally {
    await iterator.close();
  }
}

function damaged(folder: string, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `the state in ${folder} is damaged: ${what}`, {
    next:
      'Stop this coordinator, empty its state folder, and start it again: ' +
      'a log that is whole is applied anew.',
    cause,
  });
}

function openError(error: unknown, folder: string, fresh: boolean): TidemarkError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const code = (cause as { readonly code?: unknown }).code;
  if (code === 'LEVEL_LOCKED') {
    return new TidemarkError('DATA_IN_USE', `another process uses ${folder}`, {
      cause,
      next: 'Stop the other process, or start this one with another data folder.',
    });
  }
  if (fresh) return new TidemarkError('STORAGE_FAILED', `${folder} cannot be opened`, { cause });
  return damaged(folder, toTidemarkError(cause).message);
}
