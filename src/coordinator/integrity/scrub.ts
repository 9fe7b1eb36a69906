/**
 * Looks at everything that a member holds again and again, a little at a time: the files of its log and its
 * state, the state's rows in memory, and their sum. What is damaged ends the process, before it serves it.
 */
import { isTidemarkError, LIMITS, sleep, type Cancel, type Clock } from '../../base/index.ts';
import type { Logger } from '../../ops/index.ts';

export interface ScrubParts {
  /** What is checked in one round; each yields after every few milliseconds of work. */
  readonly checks: readonly (() => AsyncIterable<void>)[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly onFatal: (error: unknown) => void;
}

export class Scrub {
  readonly #parts: ScrubParts;
  readonly #stop = new AbortController();
  #next: Cancel | undefined;
  #running: Promise<void> | undefined;
  #completeMs: number | undefined;

  constructor(parts: ScrubParts) {
    this.#parts = parts;
  }

  /** Milliseconds since everything was last found whole; undefined before the first time. */
  get ageMs(): number | undefined {
    return this.#completeMs === undefined ? undefined : this.#parts.clock.monotonicMs() - this.#completeMs;
  }

  /** Begins: the first round comes after the pause between rounds, for the start has checked everything. */
  start(): void {
    this.#next = this.#parts.clock.after(LIMITS.scrubRoundMs, () => {
      this.#running = this.#round();
    });
  }

  /** Resolves when nothing is being read any more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#next?.();
    await this.#running;
  }

  async #round(): Promise<void> {
    const { checks, clock, log, onFatal } = this.#parts;
    try {
      for (const check of checks) if (!(await this.#run(check()))) return;
    } catch (error) {
      if (isTidemarkError(error)) log.error({ code: error.code, error: error.message }, 'damage was found');
      onFatal(error);
      return;
    }
    this.#completeMs = clock.monotonicMs();
    this.start();
  }

  /** False if it was stopped. */
  async #run(steps: AsyncIterable<void>): Promise<boolean> {
    const { clock } = this.#parts;
    for await (const _ of steps) {
      if (this.#stop.signal.aborted) return false;
      await sleep(clock, LIMITS.scrubPauseMs);
    }
    return !this.#stop.signal.aborted;
  }
}
