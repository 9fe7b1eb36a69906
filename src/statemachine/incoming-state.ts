/**
 * A state that is put together beside the one in use, batch by batch, and takes its place by one small synced
 * write. Until then a crash leaves the old state, and rows that are removed later.
 */
import { TidemarkError } from '../base/index.ts';
import type { RowChange } from './row-codec.ts';
import type { StateDatabase } from './state-database.ts';
import type { Place, StateHead } from './state-rows.ts';

export interface IncomingParts {
  readonly db: StateDatabase;
  readonly place: Place;
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
  readonly install: (head: StateHead) => Promise<void>;
}

export class IncomingState {
  readonly place: Place;
  readonly #parts: IncomingParts;
  #abandoned = false;

  constructor(parts: IncomingParts) {
    this.place = parts.place;
    this.#parts = parts;
  }

  /** @throws TidemarkError `STORAGE_FAILED`, `CANCELLED` once another state was begun. */
  async add(rows: readonly RowChange[]): Promise<void> {
    this.#mustBeWanted();
    const { db, inTurn } = this.#parts;
    const batch = db.batch();
    for (const { fullKey, bytes } of rows) if (bytes !== undefined) batch.put(this.place + fullKey, bytes);
    await inTurn(() => batch.write());
  }

  /**
   * Takes the place of the state in use. Nothing is applied meanwhile.
   * @throws TidemarkError `STORAGE_FAILED`, `CANCELLED` once another state was begun.
   */
  async install(head: StateHead): Promise<void> {
    this.#mustBeWanted();
    await this.#parts.install(head);
    this.#abandoned = true;
  }

  abandon(): void {
    this.#abandoned = true;
  }

  #mustBeWanted(): void {
    if (this.#abandoned) throw new TidemarkError('CANCELLED', 'another state is put together');
  }
}
