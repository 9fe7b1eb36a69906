/**
 * Turns at an embedded file's one write lock. SQLite lets waiting writers poll, the newest with the same chance
 * as the oldest; a process with several writers would mostly compete with itself. So within a process
 * they queue here and one of them polls. Between two turns there is a pause, longer than another process's
 * poll, so that the other process gets its turn too.
 */

/** Longer than the worker's poll of the lock ({@link POLL_MS}). */
const PAUSE_MS = 4;

/** How often a waiting writer asks for the lock. */
export const POLL_MS = 2;

/** Gives the turn back. Calling it again does nothing. */
export type EndTurn = () => void;

export class WriterTurns {
  readonly #waiting: (() => void)[] = [];
  #taken = false;

  /** Resolves when it is the caller's turn, first come first served. */
  async take(): Promise<EndTurn> {
    if (this.#taken) {
      await new Promise<void>((admit) => {
        this.#waiting.push(admit);
      });
    }
    this.#taken = true;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      if (this.#waiting.length === 0) this.#taken = false;
      else setTimeout(() => this.#waiting.shift()?.(), PAUSE_MS);
    };
  }
}
