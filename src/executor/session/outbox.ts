/**
 * What an executor has to tell the leader, kept until it surely arrived. A leader may die with what it was
 * told unread or uncommitted, so after each welcome everything kept is told again; a leader ignores what it
 * knows.
 */
import { LIMITS, type Clock } from '../../base/index.ts';
import type { FromExecutor } from '../../wire/index.ts';

export type Outgoing = NonNullable<FromExecutor['body']>;

interface Kept {
  readonly body: Outgoing;
  readonly atMs: number;
}

export class Outbox {
  readonly #clock: Clock;
  readonly #kept = new Map<string, Kept>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Keeps `body` in place of what was kept under the same key. The oldest gives way when there are too
   * many.
   */
  put(key: string, body: Outgoing): void {
    this.#expire();
    this.#kept.delete(key);
    this.#kept.set(key, { body, atMs: this.#clock.monotonicMs() });
    const oldest = this.#kept.keys().next();
    if (this.#kept.size > LIMITS.outcomesKeptMax && oldest.done !== true) this.#kept.delete(oldest.value);
  }

  get(key: string): Outgoing | undefined {
    this.#expire();
    return this.#kept.get(key)?.body;
  }

  /** A newer grant has made it void. */
  drop(key: string): void {
    this.#kept.delete(key);
  }

  /** Everything kept, oldest first. */
  all(): Outgoing[] {
    this.#expire();
    return [...this.#kept.values()].map((kept) => kept.body);
  }

  /** After a minute a leader has long given up and granted anew. */
  #expire(): void {
    const before = this.#clock.monotonicMs() - LIMITS.outcomesKeptMs;
    for (const [key, kept] of this.#kept) {
      if (kept.atMs > before) return;
      this.#kept.delete(key);
    }
  }
}
