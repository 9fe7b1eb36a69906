/**
 * The state's database: one LevelDB folder, written in chained, atomic batches of one applied group or more,
 * behind the replies.
 *
 * Batches are not synced. A power loss leaves the end of the database's own log in any shape: it is cut off
 * where it is no longer whole, so what remains is the state of an earlier group, and the Raft log, which is
 * synced and reaches further, is applied again from there. LevelDB does not check its checksums: before each
 * open its files are compared with them, as those of the log are. Each row carries a checksum of its own, and
 * the digest in the head row shows a row that vanished or came back.
 */
import { assert, mutated, TidemarkError } from '../base/index.ts';
import type { ClusterId } from '../base/index.ts';
import { IncomingState } from './incoming-state.ts';
import type { StateParts } from './load/read-state.ts';
import { MemoryState } from './memory-state.ts';
import { PlaceSweeper } from './place-sweeper.ts';
import { decodeRow, encodeRow, type RowChange } from './row-codec.ts';
import { damagedState, openLevelDatabase, type OpenDatabase, type StateDatabase } from './state-database.ts';
import {
  HEAD_KEY,
  otherPlace,
  readParts,
  readRows,
  type Place,
  type StateHead,
  type StatePiece,
} from './state-rows.ts';
import { WriteBehind } from './write-behind.ts';
import { WriteTurns } from './write-turns.ts';

type Applied = Pick<StateHead, 'appliedIndex' | 'appliedTerm' | 'digest'>;

export interface StateStoreOptions {
  /** The state's own folder; one process at a time. */
  readonly folder: string;
  readonly clusterId: ClusterId;
  /** Hears where and why the newest writes were cut off, as after a loss of power: the log has them. */
  readonly onCut?: (what: string) => void;
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
  readonly #turns = new WriteTurns();
  readonly #sweeper: PlaceSweeper;
  readonly #behind: WriteBehind;
  #head: StateHead;
  /** Names the state that is put together: only the last one that was begun is wanted. */
  #begun = 0;

  private constructor(db: StateDatabase, head: StateHead) {
    this.#db = db;
    this.#head = head;
    this.#sweeper = new PlaceSweeper(db, this.#turns);
    this.#behind = new WriteBehind(db, this.#turns, head);
  }

  /** Where what was applied stands; the database may still be behind. */
  get head(): StateHead {
    return this.#head;
  }

  get #place(): Place {
    return this.#head.place ?? '';
  }

  /**
   * Opens the folder, making it if it does not exist or holds no row yet, with the state that it holds.
   * @throws TidemarkError `DATA_IN_USE`, `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `DATA_OF_OTHER_CLUSTER`,
   * `STORAGE_FAILED`.
   */
  static async open(options: StateStoreOptions): Promise<OpenedState> {
    const { folder, clusterId, openDatabase = openLevelDatabase } = options;
    const { db, fresh, parts } = await openDatabase(folder);
    if (parts?.cut !== undefined) options.onCut?.(parts.cut);
    try {
      if (fresh) {
        return { store: new StateStore(db, await writeFirstHead(db, clusterId)), state: new MemoryState() };
      }
      const { state, head } = fill(folder, clusterId, parts ?? (await readParts(db)));
      if (parts !== undefined) await compareHeads(db, folder, head);
      const store = new StateStore(db, head);
      store.#sweepLater();
      return { store, state };
    } catch (error) {
      await db.close();
      throw error;
    }
  }

  /**
   * Takes the rows that one applied group changed, with the head that it leads to. They are written later, as
   * a whole and in order; a failure is told by {@link whenFailed}.
   */
  write(changes: readonly RowChange[], { appliedIndex, appliedTerm, digest }: Applied): void {
    const { clusterId, appliedIndex: previousIndex, place } = this.#head;
    assert(appliedIndex >= previousIndex, 'the applied index does not go back');
    this.#head = { appliedIndex, appliedTerm, digest, clusterId, previousIndex, place: place ?? '' };
    this.#behind.add(changes, this.#head);
  }

  /** Resolves when more may be written. @throws TidemarkError `STORAGE_FAILED`; the process must end then. */
  room(): Promise<void> {
    return this.#behind.room();
  }

  /** Calls `listener` once when a write has failed: the process must end then. */
  whenFailed(listener: (error: TidemarkError) => void): void {
    this.#turns.whenFailed(listener);
  }

  /**
   * Begins to put another state together beside this one; one that was begun before is given up.
   * @throws TidemarkError `STORAGE_FAILED`; the process must end then.
   */
  async begin(): Promise<IncomingState> {
    const begun = ++this.#begun;
    const place = await this.#sweeper.sweep(() =>
      mutated('state.installInPlace') ? this.#place : otherPlace(this.#place),
    );
    return new IncomingState({
      db: this.#db,
      turns: this.#turns,
      place,
      isWanted: () => this.#begun === begun,
      install: (head) => this.#install(head, place),
    });
  }

  async #install({ appliedIndex, appliedTerm, digest }: Applied, place: Place): Promise<void> {
    assert(appliedIndex >= this.#head.appliedIndex, 'the applied index does not go back');
    const { clusterId, appliedIndex: previousIndex } = this.#head;
    const next = { clusterId, appliedIndex, appliedTerm, digest, previousIndex, installed: true, place };
    this.#begun++;
    await this.#behind.written();
    const sync = !mutated('state.installNotSynced');
    // Its rows first: a crash before the head is written leaves the old state.
    if (sync) await this.flush();
    await this.#turns.run(() => this.#behind.putHead(next, { sync }));
    this.#head = next;
    this.#sweepLater();
  }

  /** Removes what is left of another state while work goes on. */
  #sweepLater(): void {
    this.#sweeper.sweep(() => otherPlace(this.#place)).catch((cause: unknown) => this.#turns.fail(cause));
  }

  /**
   * Makes everything that was applied durable, and resolves with the applied index that surely is. Work goes
   * on meanwhile.
   *
   * LevelDB is told to move its memory to synced tables, and does not say when that fails. If a table
   * cannot be made, it refuses the next write. If it can begin no other log file, all that is older is in
   * tables, and the log file that it goes on with has been synced before. (A synced write alone would not do:
   * LevelDB syncs the newest log file only.)
   * @throws TidemarkError `STORAGE_FAILED`; the process must end then.
   */
  async flush(): Promise<number> {
    await this.#behind.written();
    let durable = 0;
    await this.#turns.run(async () => {
      durable = this.#behind.stored.appliedIndex;
      if (!mutated('state.flushNotSynced')) await this.#behind.putHead(this.#behind.stored, { sync: true });
    });
    try {
      await this.#db.compactRange(HEAD_KEY, HEAD_KEY);
    } catch (cause) {
      throw this.#turns.fail(cause);
    }
    if (!mutated('state.flushTakenOnTrust')) {
      await this.#turns.run(() => this.#behind.putHead(this.#behind.stored, { sync: false }));
    }
    return durable;
  }

  /** Reads head and rows as of one batch, at least of all that is applied, whatever is written meanwhile. */
  async *read(): AsyncGenerator<StatePiece, void, undefined> {
    await this.#behind.written();
    const snapshot = this.#db.snapshot();
    try {
      yield* readRows(this.#db, { snapshot });
    } finally {
      await snapshot.close();
    }
  }

  async close(): Promise<void> {
    this.#begun++;
    await this.#sweeper.stop();
    await this.#behind.ended();
    await this.#turns.ended();
    await this.#db.close();
  }
}

/** The first head is synced: from then on rows without one are damage. */
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
