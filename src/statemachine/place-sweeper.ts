/** Removes the rows of an older state, or of one that was never complete. */
import { mutated } from '../base/index.ts';
import type { StateDatabase } from './state-database.ts';
import { HEAD_KEY, placeOfKey, rangeOf, type Place } from './state-rows.ts';
import type { WriteTurns } from './write-turns.ts';

/** Rows that one batch removes. */
const SWEEP_ROWS = 500;

export class PlaceSweeper {
  readonly #db: StateDatabase;
  readonly #turns: WriteTurns;
  /** Settles when the sweep under way and all before it have. */
  #last: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(db: StateDatabase, turns: WriteTurns) {
    this.#db = db;
    this.#turns = turns;
  }

  /**
   * Empties the place that `unused` names, while work goes on in the other. It looks once everything that was
   * asked for before has ended: a write that is still to come, or a removal, would go by it.
   * @throws TidemarkError `STORAGE_FAILED`; the process must end then.
   */
  sweep(unused: () => Place): Promise<Place> {
    const before = this.#last;
    const sweep = (async () => {
      if (!mutated('state.sweepBesideWrites')) {
        await before;
        await this.#turns.ended();
      }
      const place = unused();
      await this.#empty(place);
      return place;
    })();
    this.#last = sweep.then(
      () => undefined,
      () => undefined,
    );
    return sweep;
  }

  /** Ends the sweep under way early. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#last;
  }

  async #empty(place: Place): Promise<void> {
    let gone: string[] = [];
    try {
      for await (const key of this.#db.keys(rangeOf(place))) {
        if (this.#stopped) return;
        if (key === HEAD_KEY || placeOfKey(key) !== place) continue;
        gone.push(key);
        if (gone.length < SWEEP_ROWS) continue;
        await this.#remove(gone);
        gone = [];
      }
      await this.#remove(gone);
    } catch (cause) {
      throw this.#turns.fail(cause);
    }
  }

  async #remove(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return;
    const batch = this.#db.batch();
    for (const key of keys) batch.del(key);
    await this.#turns.run(() => batch.write());
  }
}
