/**
 * What a re-snapshot takes the place of: rows of the row states, as of a window that was sealed just for it
 * (design 6.5). Rows behind the snapshot's cursor have not changed in any window since, so that this one
 * window serves for all chunks, however far the row states have come meanwhile.
 */
import { must, mutated, sleep, type Clock } from '../../base/index.ts';
import type { CapturedTable, CompiledSource } from '../../job/index.ts';
import type { RowValues } from '../change-source.ts';
import type { RowKey } from './key-order.ts';

export interface RowStatesPart {
  readonly table: CapturedTable;
  readonly window: number;
  /**
   * Keys in an order that is known here: those above `after`, up to `upTo`; undefined: from the first, up to
   * the last.
   */
  readonly after: RowKey | undefined;
  readonly upTo: RowKey | undefined;
}

/** The row states of a source, on the primaries of all store shards. */
export interface RowStates {
  /** The last window that all of them hold. */
  held(): Promise<number>;
  /** Delivers rows as of a window. @throws TidemarkError `STATE_BEHIND`, and those of the engine. */
  read(part: RowStatesPart, onRows: (rows: readonly RowValues[]) => Promise<void>): Promise<void>;
}

const ASK_EVERY_MS = 50;

export class FormerRows {
  readonly #states: RowStates;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #base: { readonly source: CompiledSource; readonly window: number } | undefined;

  constructor(states: RowStates, clock: Clock, signal: AbortSignal) {
    this.#states = states;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Whether there is a window to compare with that was sealed under these definitions. */
  standsOn(source: CompiledSource): boolean {
    return this.#base?.source === source;
  }

  /** Compares with this window from here on; resolves when all row states hold it. */
  async reach(source: CompiledSource, window: number): Promise<void> {
    this.#base = { source, window };
    if (mutated('collector.resnapshotBeforeStates')) return;
    while ((await this.#states.held()) < window) await sleep(this.#clock, ASK_EVERY_MS, this.#signal);
  }

  /** Delivers what the row states have of a table, between two keys. */
  read(
    part: Omit<RowStatesPart, 'window'>,
    onRows: (rows: readonly RowValues[]) => Promise<void>,
  ): Promise<void> {
    const { window } = must(this.#base, 'a window to compare with');
    return this.#states.read({ ...part, window }, onRows);
  }
}
