/**
 * Log time (design section 4) is what leases, delays and deadlines of the replicated state are measured in:
 * the last log time plus the leader's monotonic elapsed time. Wall clocks play no part in it.
 */
import { assert } from '../base/index.ts';

/** The log time of a leader during one term, in whole milliseconds. A new term begins with a new one. */
export class LogClock {
  #logTimeMs: number;
  #monotonicMs: number;

  /** Begins at the log time of the applied state, at this moment of the monotonic clock. */
  constructor(appliedMs: number, monotonicMs: number) {
    this.#logTimeMs = appliedMs;
    this.#monotonicMs = monotonicMs;
  }

  /**
   * Computes the log time that an entry proposed now carries. A state that was applied meanwhile and is later
   * than that (entries of the leader before) sets the clock forward; nothing ever sets it back.
   */
  at(monotonicMs: number, appliedMs: number): number {
    assert(monotonicMs >= this.#monotonicMs, 'monotonic time does not go back');
    const next = this.#logTimeMs + Math.floor(monotonicMs - this.#monotonicMs);
    assert(Number.isSafeInteger(next) && next >= 0, 'log time is a whole number of milliseconds');
    if (appliedMs <= next) return next;
    this.#logTimeMs = appliedMs;
    this.#monotonicMs = monotonicMs;
    return appliedMs;
  }
}
