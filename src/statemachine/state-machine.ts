/**
 * The replicated state of one coordinator: what the Raft log is applied to, and what everything else reads.
 */
import { assert, LIMITS, mutated, TidemarkError } from '../base/index.ts';
import { applyEntry } from './commands/apply.ts';
import { decodeEntry } from './commands/entry.ts';
import type { Entry } from './commands/operations.ts';
import { encodeReplies } from './commands/replies.ts';
import { DigestHistory, isCheckpoint, type DigestAt } from './digest-history.ts';
import type { MemoryState } from './memory-state.ts';
import { PassingRows } from './passing-rows.ts';
import { scrubState } from './scrub-state.ts';
import { snapshotChunks } from './snapshot.ts';
import { StateSnapshots, readState } from './state-snapshots.ts';
import { StateStore, type StateStoreOptions } from './state-store.ts';
import type { StateView } from './view.ts';

/**
 * An entry that is committed; the same shape as consensus hands over. Empty `data` is an entry of its own.
 */
export interface AppliedEntry {
  readonly index: number;
  readonly term: number;
  readonly data: Uint8Array;
}

export type StateMachineOptions = StateStoreOptions;

export interface StateMachine {
  /** The last index whose effect is in the state: entries after it are to be applied. */
  readonly appliedIndex: number;
  /**
   * Applies entries in order, each exactly once, and answers with one reply per entry (`decodeReplies`; empty
   * for an entry without data). Calls must not overlap. A rejection means that the state is not known
   * any more: the process must end. The database follows: a crash takes the newest entries from it, and they
   * are to be applied again.
   * @throws TidemarkError `STORAGE_FAILED`, `DATA_CORRUPT`, `FORMAT_UNKNOWN`.
   */
  apply(entries: readonly AppliedEntry[]): Promise<readonly Uint8Array[]>;
  /** Calls `listener` once when what was applied could not be written: the process must end then. */
  whenFailed(listener: (error: TidemarkError) => void): void;
  /** A live view; see {@link StateView}. Costs nothing. */
  view(): StateView;
  /** Digests of the state as it is now and at the last checkpoints; a function of the indexes alone. */
  digests(): readonly DigestAt[];
  /** Calls `listener` after every applied group; returns what ends that. */
  onApplied(listener: (appliedIndex: number) => void): () => void;
  /** A snapshot of the state as of one applied index, as a stream of chunks; applying goes on meanwhile. */
  snapshot(): AsyncGenerator<Uint8Array, void, undefined>;
  /** What consensus needs to forget old entries and to bring members up that are behind. */
  readonly snapshots: StateSnapshots;
  /**
   * Checks rows in memory and on disk while they are in use, step by step.
   * @throws TidemarkError `DATA_CORRUPT`.
   */
  scrub(): AsyncGenerator<void, void, undefined>;
  close(): Promise<void>;
}

/**
 * Opens the state in its folder, or makes it. Every stored row is read and checked.
 * @throws TidemarkError `DATA_IN_USE`, `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `DATA_OF_OTHER_CLUSTER`,
 * `STORAGE_FAILED`.
 */
export async function openStateMachine(options: StateMachineOptions): Promise<StateMachine> {
  const { state, store } = await StateStore.open(options);
  return new DurableStateMachine(state, store);
}

/**
 * Fills an empty folder from a snapshot. Rows go to the disk as they come, and are not kept in memory; the
 * head that makes them a state is written when all of them were checked.
 * @throws TidemarkError as {@link openStateMachine}; `DATA_CORRUPT` also for a damaged snapshot.
 */
export async function restoreState(
  options: StateMachineOptions,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  const { store } = await StateStore.open(options);
  try {
    const { clusterId, appliedIndex } = store.head;
    if (appliedIndex !== 0) {
      throw new TidemarkError('ALREADY_INITIALIZED', `${options.folder} already holds a state`);
    }
    const incoming = await store.begin();
    const { head } = await readState(chunks, clusterId, new PassingRows(), (rows) => incoming.add(rows));
    await incoming.install(head);
  } finally {
    await store.close();
  }
}

class DurableStateMachine implements StateMachine {
  readonly snapshots: StateSnapshots;
  #state: MemoryState;
  readonly #store: StateStore;
  readonly #digests = new DigestHistory();
  readonly #listeners = new Set<(appliedIndex: number) => void>();
  /** Set while a call runs, and for good after one failed. */
  #busy = false;

  constructor(state: MemoryState, store: StateStore) {
    this.#state = state;
    this.#store = store;
    this.snapshots = new StateSnapshots(store, (next) => {
      assert(!this.#busy, 'nothing is applied while a snapshot is installed');
      this.#state = next;
      for (const listener of this.#listeners) listener(next.appliedIndex);
    });
    this.#digests.add({ index: store.head.appliedIndex, digest: store.head.digest });
  }

  get appliedIndex(): number {
    return this.#store.head.appliedIndex;
  }

  async apply(entries: readonly AppliedEntry[]): Promise<readonly Uint8Array[]> {
    assert(!this.#busy, 'apply does not overlap, and does not follow a failure');
    this.#busy = true;
    const replies: Uint8Array[] = [];
    let from = 0;
    while (from < entries.length) {
      await this.#store.room();
      const to = endOfGroup(entries, from);
      for (let i = from; i < to; i++) replies.push(this.#applyOne(entries[i]));
      this.#write();
      from = to;
    }
    this.#busy = false;
    return replies;
  }

  #applyOne(entry: AppliedEntry | undefined): Uint8Array {
    assert(entry?.index === this.#state.appliedIndex + 1, 'entries are applied without a gap');
    assert(entry.term >= this.#state.appliedTerm, 'terms do not go back');
    const reply =
      entry.data.length === 0
        ? new Uint8Array(0)
        : encodeReplies(applyEntry(this.#state, decoded(entry.data), entry));
    this.#state.appliedIndex = entry.index;
    this.#state.appliedTerm = entry.term;
    return reply;
  }

  #write(): void {
    const changes = this.#state.takeChanges();
    const { appliedIndex, appliedTerm, digest } = this.#state;
    this.#store.write(changes, { appliedIndex, appliedTerm, digest });
    this.#digests.add({ index: appliedIndex, digest });
    for (const listener of this.#listeners) listener(appliedIndex);
  }

  whenFailed(listener: (error: TidemarkError) => void): void {
    this.#store.whenFailed(listener);
  }

  view(): StateView {
    return this.#state;
  }

  digests(): readonly DigestAt[] {
    const { appliedIndex, digest } = this.#store.head;
    const { checkpoints } = this.#digests;
    return isCheckpoint(appliedIndex) ? checkpoints : [...checkpoints, { index: appliedIndex, digest }];
  }

  onApplied(listener: (appliedIndex: number) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  snapshot(): AsyncGenerator<Uint8Array, void, undefined> {
    return snapshotChunks(this.#store.read());
  }

  scrub(): AsyncGenerator<void, void, undefined> {
    return scrubState(() => this.#state, this.#store);
  }

  async close(): Promise<void> {
    await this.#store.close();
  }
}

function decoded(data: Uint8Array): Entry {
  const entry = decodeEntry(data);
  return mutated('state.appliesOwnClock')
    ? { ...entry, wallMs: Math.round(performance.now() * 1_000) }
    : entry;
}

/**
 * A group is bounded, so that a long run of entries does not hold the event loop: it waits for room, and that
 * is for the disk. It also ends where digests are compared.
 */
function endOfGroup(entries: readonly AppliedEntry[], from: number): number {
  let bytes = 0;
  let to = from;
  while (to < entries.length && (to === from || bytes < LIMITS.applyGroupBytesMax)) {
    const entry = entries[to];
    bytes += entry?.data.length ?? 0;
    to += 1;
    if (entry !== undefined && isCheckpoint(entry.index)) break;
  }
  return to;
}
