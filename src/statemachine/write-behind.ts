/**
 * What is applied goes to the database behind the replies: one batch is under way, the next one gathers. A
 * crash takes what was not written; the log has it, and it is applied again.
 */
import { LIMITS, mutated } from '../base/index.ts';
import { encodeRow, type RowChange } from './row-codec.ts';
import type { StateBatch, StateDatabase } from './state-database.ts';
import { HEAD_KEY, type StateHead } from './state-rows.ts';
import type { WriteTurns } from './write-turns.ts';

export class WriteBehind {
  readonly #db: StateDatabase;
  readonly #turns: WriteTurns;
  #stored: StateHead;
  /** Where all that was added leads to. */
  #addedIndex: number;
  /** What gathers, with the head that it leads to. */
  #next: { readonly batch: StateBatch; head: StateHead; bytes: number } | undefined;
  /** Settles when the batch under way has been written, or has failed. */
  #writing: Promise<void> | undefined;

  constructor(db: StateDatabase, turns: WriteTurns, stored: StateHead) {
    this.#db = db;
    this.#turns = turns;
    this.#stored = stored;
    this.#addedIndex = stored.appliedIndex;
  }

  /** What the database says of itself. */
  get stored(): StateHead {
    return this.#stored;
  }

  /** Takes the rows that one applied group changed, and the head that it leads to. */
  add(changes: readonly RowChange[], head: StateHead): void {
    const place = head.place ?? '';
    this.#next ??= { batch: this.#db.batch(), head, bytes: 0 };
    this.#next.head = head;
    this.#addedIndex = head.appliedIndex;
    for (const { fullKey, bytes } of changes) {
      if (bytes === undefined) this.#next.batch.del(place + fullKey);
      else this.#next.batch.put(place + fullKey, bytes);
      this.#next.bytes += fullKey.length + (bytes?.length ?? 0);
    }
    this.#begin();
  }

  /**
   * Resolves when more may be added: what gathers is bounded.
   * @throws TidemarkError `STORAGE_FAILED`.
   */
  async room(): Promise<void> {
    while ((this.#next?.bytes ?? 0) > LIMITS.applyGroupBytesMax && !mutated('state.behindUnbounded')) {
      this.#turns.mustGoOn();
      await this.#writing;
    }
    this.#turns.mustGoOn();
  }

  /**
   * Resolves when all that was added before the call has been written. More may be added meanwhile: whoever
   * waited for an idle database would wait as long as the load lasts.
   * @throws TidemarkError `STORAGE_FAILED`.
   */
  async written(): Promise<void> {
    if (mutated('state.behindNotAwaited')) return;
    if (mutated('state.behindAwaitedToItsEnd')) await this.ended();
    const goal = this.#addedIndex;
    while (this.#writing !== undefined && this.#stored.appliedIndex < goal) await this.#writing;
    this.#turns.mustGoOn();
  }

  /** Resolves when nothing is under way any more, well or not. */
  async ended(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  /** Writes a head alone, in the turn of the caller. */
  async putHead(head: StateHead, { sync }: { readonly sync: boolean }): Promise<void> {
    await this.#db.batch().put(HEAD_KEY, encodeRow(HEAD_KEY, head).bytes).write({ sync });
    this.#stored = head;
  }

  #begin(): void {
    if (this.#writing !== undefined || this.#next === undefined) return;
    const { batch, head } = this.#next;
    this.#next = undefined;
    const stored = { ...head, previousIndex: this.#stored.appliedIndex };
    const write = this.#turns.run(async () => {
      if (mutated('state.headWrittenApart')) await batch.write();
      batch.put(HEAD_KEY, encodeRow(HEAD_KEY, stored).bytes);
      await batch.write();
      this.#stored = stored;
    });
    this.#writing = write.then(
      () => {
        this.#writing = undefined;
        this.#begin();
      },
      () => {
        // Nothing more is begun. Whoever hears of the failure ends the process.
        this.#writing = undefined;
      },
    );
  }
}
