/**
 * The state's database: one LevelDB folder, written by one chained, atomic batch per applied group.
 *
 * Batches are not synced. What a power loss takes is the end of the database's own log, so what remains is
 * the state of an earlier group, and the Raft log, which is synced and reaches further, is applied again from
 * there. LevelDB does not check its checksums: before each open its files are compared with them, as those of
 * the log are. Each row carries a checksum of its own, and the digest in the head row shows a row that
 * vanished or came back.
 */
import { assert, mutated, TidemarkError } from '../base/index.ts';
import type { ClusterId } from '../base/index.ts';
import { IncomingState } from './incoming-state.ts';
import type { StateParts } from './load/read-state.ts';
import { MemoryState } from './memory-state.ts';
import { decodeRow, encodeRow, type RowChange } from './row-codec.ts';
import { damagedState, openLevelDatabase, type OpenDatabase, type StateDatabase } from './state-database.ts';
import {
  HEAD_KEY,
  otherPlace,
  placeOfKey,
  rangeOf,
  readParts,
  readRows,
  type Place,
  type StateHead,
  type StatePiece,
} from './state-rows.ts';

/** Rows that one batch removes of a state that is no more. */
const SWEEP_ROWS = 500;

type Applied = Pick<StateHead, 'appliedIndex' | 'appliedTerm' | 'digest'>;

export interface StateStoreOptions {
  /** The state's own folder; one process at a time. */
  readonly folder: string;
  readonly clusterId: ClusterId;
  /** @default LevelDB */
  readonly openDatabase?: OpenDatabase;
}

/** A database with all of its rows in memory. */
export interface OpenedState {
  readonly store: StateStore;
  readonly state: MemoryState;
}

export class StateStore {
  readonly #db: StateDatabase;
  #head: StateHead;
  #incoming: IncomingState | undefined;
  /** Settles when the write under way and all before it have. */
  #turn: Promise<void> = Promise.resolve();
  #sweeping: Promise<void> = Promise.resolve();
  #closing = false;
  #failure: unknown;

  private constructor(db: StateDatabase, head: StateHead) {
    this.#db = db;
    this.#head = head;
  }

  get head(): StateHead {
    return this.#head;
  }

  get #place(): Place {
    return this.#head.place ?? '';
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
      const store = new StateStore(db, head);
      store.sweepLater();
      return { store, state };
    } catch (error) {
      await db.close();
      throw error;
    }
  }

  /**
   * Writes the rows that one applied group changed, with the head that it leads to.
   * @throws TidemarkError `STORAGE_FAILED`; the process must end then.
   */
  async write(changes: readonly RowChange[], { appliedIndex, appliedTerm, digest }: Applied): Promise<void> {
    assert(appliedIndex >= this.#head.appliedIndex, 'the applied index does not go back');
    const place = this.#place;
    const next: StateHead = {
      appliedIndex,
      appliedTerm,
      digest,
      clusterId: this.#head.clusterId,
      previousIndex: this.#head.appliedIndex,
      place,
    };
    const batch = this.#db.batch();
    for (const { fullKey, bytes } of changes) {
      if (bytes === undefined) batch.del(place + fullKey);
      else batch.put(place + fullKey, bytes);
    }
    await this.#inTurn(async () => {
      if (mutated('state.headWrittenApart')) await batch.write();
      batch.put(HEAD_KEY, encodeRow(HEAD_KEY, next).bytes);
      await batch.write();
    });
    this.#head = next;
  }

  /**
   * Begins to put another state together beside this one.
   * @throws TidemarkError `STORAGE_FAILED`; the process must end then.
   */
  async begin(): Promise<IncomingState> {
    this.#incoming?.abandon();
    const place = mutated('state.installInPlace') ? this.#place : otherPlace(this.#place);
    const incoming = new IncomingState({
      db: this.#db,
      place,
      inTurn: (work) => this.#inTurn(work),
      install: (head) => this.#install(head, place),
    });
    this.#incoming = incoming;
    await this.#sweep(place);
    return incoming;
  }

  async #install({ appliedIndex, appliedTerm, digest }: Applied, place: Place): Promise<void> {
    assert(appliedIndex >= this.#head.appliedIndex, 'the applied index does not go back');
    const { clusterId, appliedIndex: previousIndex } = this.#head;
    const next = { clusterId, appliedIndex, appliedTerm, digest, previousIndex, installed: true, place };
    const sync = !mutated('state.installNotSynced');
    await this.#inTurn(async () => {
      // Its rows first: a crash before the head is written leaves the old state.
      if (sync) await this.#db.compactRange(HEAD_KEY, HEAD_KEY);
      await this.#db.batch().put(HEAD_KEY, encodeRow(HEAD_KEY, next).bytes).write({ sync });
    });
    this.#head = next;
    this.sweepLater();
  }

  /** Removes what is left of an older state, or of one that was never complete, while work goes on. */
  sweepLater(): void {
    this.#sweeping = this.#sweep(otherPlace(this.#place)).catch((error: unknown) => {
      this.#failure = error;
    });
  }

  async #sweep(place: Place): Promise<void> {
    await this.#sweeping;
    const gone: string[] = [];
    const remove = async (): Promise<void> => {
      const batch = this.#db.batch();
      for (const key of gone.splice(0)) batch.del(key);
      await this.#inTurn(() => batch.write());
    };
    for await (const key of this.#db.keys(rangeOf(place))) {
      if (this.#closing) return;
      if (key === HEAD_KEY || placeOfKey(key) !== place) continue;
      gone.push(key);
      if (gone.length >= SWEEP_ROWS) await remove();
    }
    if (gone.length > 0) await remove();
  }

  /** Writes follow each other. @throws TidemarkError `STORAGE_FAILED`. */
  async #inTurn(work: () => Promise<void>): Promise<void> {
    const before = this.#turn;
    const turn = (async () => {
      await before;
      if (this.#failure !== undefined) throw storageFailed(this.#failure);
      try {
        await work();
      } catch (cause) {
        this.#failure = cause;
        throw storageFailed(cause);
      }
    })();
    this.#turn = turn.then(
      () => undefined,
      () => undefined,
    );
    return turn;
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
  async *read(): AsyncGenerator<StatePiece, void, undefined> {
    const snapshot = this.#db.snapshot();
    try {
      yield* readRows(this.#db, { snapshot });
    } finally {
      await snapshot.close();
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#incoming?.abandon();
    await this.#sweeping;
    await this.#turn;
    await this.#db.close();
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
  if (head === undefined) throw damagedState(folder, 'its head row is missing');
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
    throw damagedState(folder, `its rows sum to ${digest}, its head says ${head.digest}`);
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
    throw damagedState(folder, 'its database stands elsewhere than its files say');
  }
}

function storageFailed(cause: unknown): TidemarkError {
  return new TidemarkError('STORAGE_FAILED', 'the state could not be written', { cause });
}
