/**
 * The state as consensus sends it to members that are behind, and as it is taken over from there: a new state
 * is made beside the old one and checked as a whole, then takes its place by one synced write.
 */
import {
  assert,
  LIMITS,
  logIndex,
  mutated,
  term,
  TidemarkError,
  type LogIndex,
  type Term,
} from '../base/index.ts';
import { MemoryState } from './memory-state.ts';
import type { RowChange } from './row-codec.ts';
import { readSnapshot, snapshotChunks } from './snapshot.ts';
import type { StateHead, StatePiece } from './state-rows.ts';
import type { StateStore } from './state-store.ts';

export interface StatePlace {
  readonly index: LogIndex;
  readonly term: Term;
}

export interface SnapshotOfState extends StatePlace {
  /** 16 hex digits, of the state as of this entry. */
  readonly digest: string;
  readonly chunks: AsyncIterable<Uint8Array>;
}

export interface NewState extends StatePlace {
  /** Takes the place of the old state, durably and as a whole. Nothing may be applied meanwhile. */
  install(): Promise<void>;
}

type Contents = AsyncGenerator<StatePiece, void, undefined>;

export class StateSnapshots {
  readonly #store: StateStore;
  readonly #use: (state: MemoryState) => void;

  constructor(store: StateStore, use: (state: MemoryState) => void) {
    this.#store = store;
    this.#use = use;
  }

  /** The entry whose snapshot this state is, if nothing was applied after it. */
  get installed(): StatePlace | undefined {
    const { head } = this.#store;
    return head.installed === true ? placeOf(head) : undefined;
  }

  /** Makes what is applied durable; resolves with the last index that surely is. */
  flush(): Promise<number> {
    return this.#store.flush();
  }

  /** Reads the state as of one entry; applying goes on meanwhile. */
  async read(): Promise<SnapshotOfState> {
    const contents = this.#store.read();
    const { value: first } = await contents.next();
    assert(typeof first === 'object' && 'head' in first, 'the head comes first');
    const head = mutated('state.snapshotOfTwoMoments') ? ofBatchBefore(first.head) : first.head;
    return { ...placeOf(head), digest: head.digest, chunks: snapshotChunks(joined({ head }, contents)) };
  }

  /**
   * Rows go to the disk as they come: neither a snapshot nor the batch that takes it over is held as a whole.
   * @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `DATA_OF_OTHER_CLUSTER`: nothing has changed;
   * `STORAGE_FAILED`, `CANCELLED` once another one was begun.
   */
  async prepare(chunks: AsyncIterable<Uint8Array>): Promise<NewState> {
    const state = new MemoryState();
    const incoming = await this.#store.begin();
    const { head } = await readState(chunks, this.#store.head.clusterId, state, (rows) => incoming.add(rows));
    state.appliedIndex = head.appliedIndex;
    state.appliedTerm = head.appliedTerm;
    return {
      ...placeOf(head),
      install: async () => {
        await incoming.install(head);
        this.#use(state);
      },
    };
  }
}

/** Takes the rows of a state, checks each, and sums them. */
export type RowsTaken = Pick<MemoryState, 'loadRow' | 'loaded'>;

/**
 * Hands `taken` the rows of a snapshot, of `clusterId` if one is named, and compares their sum with the
 * digest that the snapshot names. `write` is handed them too, some at a time, after they were checked.
 * @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `DATA_OF_OTHER_CLUSTER`.
 */
export async function readState(
  chunks: AsyncIterable<Uint8Array>,
  clusterId: string | undefined,
  taken: RowsTaken,
  write: (rows: readonly RowChange[]) => Promise<void> = () => Promise.resolve(),
): Promise<{ readonly head: StateHead }> {
  let rows: RowChange[] = [];
  let bytes = 0;
  let head: StateHead | undefined;
  for await (const piece of readSnapshot(chunks)) {
    if ('head' in piece) {
      head = piece.head;
      mustBeOf(clusterId, head);
      continue;
    }
    for (const row of piece.rows) {
      if (row.fullKey.startsWith('session/') && mutated('state.snapshotWithoutSessions')) continue;
      taken.loadRow(row.fullKey, row.bytes);
      rows.push(row);
      bytes += row.bytes.length;
      if (bytes < LIMITS.applyGroupBytesMax) continue;
      await write(rows);
      rows = [];
      bytes = 0;
    }
  }
  await write(rows);
  mustBeOf(clusterId, head);
  const digest = taken.loaded();
  if (head.digest !== digest && !mutated('state.snapshotWithoutSessions')) {
    throw new TidemarkError('DATA_CORRUPT', `snapshot: its rows sum to ${digest}, not to ${head.digest}`);
  }
  return { head };
}

function mustBeOf(clusterId: string | undefined, head: StateHead | undefined): asserts head is StateHead {
  if (head !== undefined && (clusterId ?? head.clusterId) === head.clusterId) return;
  throw new TidemarkError('DATA_OF_OTHER_CLUSTER', `snapshot: of cluster ${head?.clusterId ?? 'unknown'}`);
}

async function* joined(first: { readonly head: StateHead }, rest: Contents): Contents {
  try {
    yield first;
    yield* rest;
  } finally {
    await rest.return();
  }
}

/** What a planted bug says of the rows: the place of the batch before theirs. */
function ofBatchBefore(head: StateHead): StateHead {
  return { ...head, appliedIndex: Math.max(0, head.previousIndex) };
}

function placeOf(head: StateHead): StatePlace {
  return { index: logIndex(head.appliedIndex), term: term(head.appliedTerm) };
}
