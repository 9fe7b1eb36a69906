/**
 * Turns at an embedded file's one write lock. SQLite lets waiting writers poll, the newest with the same
 * chance as the oldest; a process with several writers would mostly compete with itself. So within a process
 * they queue here and one of them polls. Between two turns there is a pause, longer than another process's
 * poll, so that the other process gets its turn too.
 */
import { TidemarkError } from '../base/index.ts';

/** How often a waiting writer asks for the lock. */
export const POLL_MS = 2;
const PAUSE_MS = 2 * POLL_MS;

/** Gives the turn back. Calling it again does nothing. */
export type EndTurn = () => void;

export class WriterTurns {
  readonly #waiting: (() => void)[] = [];
  #taken = false;

  /**
   * Resolves when it is the caller's turn, first come first served.
   * @throws TidemarkError `DB_BUSY` after `waitMs`.
   */
  async take(waitMs: number): Promise<EndTurn> {
    if (this.#taken) await this.#wait(waitMs);
    this.#taken = true;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      if (this.#waiting.length === 0) this.#taken = false;
      else setTimeout(() => this.#admitNext(), PAUSE_MS);
    };
  }

  #wait(waitMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const admit = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(admit), 1);
        reject(new TidemarkError('DB_BUSY', `another writer of this process held the lock for ${waitMs} ms`));
      }, waitMs);
      this.#waiting.push(admit);
    });
  }

  /** The last one that waited may have given up meanwhile. */
  #admitNext(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#taken = false;
    else next();
  }
}
