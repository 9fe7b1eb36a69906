/** Reads one chunk of a snapshot (design 6.5): rows with +1 and, after a gap, what they replace with -1. */
import { LIMITS, must, mutated } from '../../base/index.ts';
import type { CapturedTable } from '../../job/index.ts';
import type { ChangeSource, RowValues, SourceMoment } from '../change-source.ts';
import type { FormerRows } from './former-rows.ts';
import type { RowKey } from './key-order.ts';
import type { SnapshotProgress } from './snapshot-progress.ts';

export interface CopyChunk {
  readonly changes: ChangeSource;
  readonly progress: SnapshotProgress;
  readonly tables: readonly CapturedTable[];
  /** What the rows take the place of; undefined in a first snapshot. */
  readonly former: FormerRows | undefined;
  readonly add: (table: number, weight: 1 | -1, row: RowValues) => void;
  /** Resolves when more rows may be added. */
  readonly ready: () => Promise<void>;
  readonly chunkRows: number;
  readonly signal: AbortSignal;
  /** Told the chunk's position; no row is read if it answers false. */
  readonly begun: (moment: SourceMoment) => Promise<boolean>;
}

/** Reads on from the progress, and moves it. Rows of a batch follow those that they take the place of. */
export async function copyChunk(chunk: CopyChunk): Promise<SourceMoment> {
  const { changes, progress, add, ready, chunkRows, signal } = chunk;
  let rowsLeft = chunkRows;
  const state = { ended: false };
  const replaced = new Replaced(chunk);
  const take = async (table: number, rows: readonly RowValues[]): Promise<boolean> => {
    signal.throwIfAborted();
    await replaced.upTo(table, progress.lastKey(table, rows));
    for (const row of rows) add(table, 1, row);
    progress.copied(table, rows);
    await ready();
    rowsLeft -= rows.length;
    state.ended = rowsLeft <= 0 && changes.hasChunks && progress.mayRest;
    return !state.ended;
  };
  const moment = await changes.snapshot(take, {
    from: progress.place,
    batchRows: Math.min(chunkRows, LIMITS.sourceReadRowsMax),
    begun: async (at) => {
      state.ended = !(await chunk.begun(at));
      return !state.ended;
    },
  });
  if (state.ended) return moment;
  await replaced.rest();
  progress.finish();
  return moment;
}

/** Takes out, in the order of tables and keys, what the row states have. */
class Replaced {
  readonly #chunk: CopyChunk;
  #table: number;
  /** The last key of that table that is taken out; 'all': its last one. */
  #key: RowKey | undefined | 'all';

  constructor(chunk: CopyChunk) {
    this.#chunk = chunk;
    const { table, after } = chunk.progress.place;
    this.#table = table;
    this.#key = after;
  }

  /** All tables before this one, and of this one the keys up to `last`; undefined: all of them. */
  async upTo(table: number, last: RowKey | undefined): Promise<void> {
    while (this.#table < table) await this.#nextTable();
    if (this.#key === 'all') return;
    await this.#takeOut(last);
    this.#key = last ?? 'all';
  }

  /** What is left of all tables. */
  async rest(): Promise<void> {
    if (mutated('collector.resnapshotLeavesTail')) return;
    while (this.#table < this.#chunk.tables.length) await this.#nextTable();
  }

  async #nextTable(): Promise<void> {
    if (this.#key !== 'all') await this.#takeOut(undefined);
    this.#table += 1;
    this.#key = undefined;
  }

  async #takeOut(upTo: RowKey | undefined): Promise<void> {
    const { former, tables, add, ready, signal } = this.#chunk;
    if (former === undefined || this.#key === 'all' || mutated('collector.resnapshotAddsOnly')) return;
    const table = must(tables[this.#table], 'a captured table');
    await former.read({ table, after: this.#key, upTo }, async (rows) => {
      signal.throwIfAborted();
      for (const row of rows) add(this.#table, -1, row);
      await ready();
    });
  }
}
