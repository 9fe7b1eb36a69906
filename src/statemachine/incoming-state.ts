/**
 * A state that is put together beside the one in use, batch by batch, and takes its place by one small synced
 * write. Until then a crash leaves the old state, and rows that are removed later.
 */
import { TidemarkError } from '../base/index.ts';
import type { RowChange } from './row-codec.ts';
import type { StateDatabase } from './state-database.ts';
import type { Place, StateHead } from './state-rows.ts';
import type { WriteTurns } from './write-turns.ts';

export interface IncomingParts {
  readonly db: StateDatabase;
  readonly turns: WriteTurns;
  readonly place: Place;
  /** False once another one was begun, or this one was installed. */
  readonly isWanted: () => boolean;
  readonly install: (head: StateHead) => Promise<void>;
}

export class IncomingState {
  readonly #parts: IncomingParts;

  constructor(parts: IncomingParts) {
    this.#parts = parts;
  }

  /** @throws TidemarkError `STORAGE_FAILED`, `CANCELLED` once another state was begun. */
  async add(rows: readonly RowChange[]): Promise<void> {
    this.#mustBeWanted();
    const { db, turns, place } = this.#parts;
    const batch = db.batch();
    for (const { fullKey, bytes } of rows) if (bytes !== undefined) batch.put(place + fullKey, bytes);
    await turns.run(() => batch.write());
  }

  /**
   * Takes the place of the state in use. Nothing is applied meanwhile.
   * @throws TidemarkError `STORAGE_FAILED`, `CANCELLED` once another state was begun.
   */
  async install(head: StateHead): Promise<void> {
    this.#mustBeWanted();
    await this.#parts.install(head);
  }

  #mustBeWanted(): void {
    if (!this.#parts.isWanted()) throw new TidemarkError('CANCELLED', 'another state is put together');
  }
}
