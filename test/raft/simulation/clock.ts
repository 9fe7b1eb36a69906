/** A member's own clocks: beside the true time, at another rate, and set by somebody. */
import type { Clock } from '../../../src/base/index.ts';
import type { SimLoop } from './loop.ts';

export class SimClock {
  readonly #loop: SimLoop;
  #rate = 1;
  #sinceMs = 0;
  #monotonicMs = 0;
  #wallOffsetMs = 0;

  constructor(loop: SimLoop) {
    this.#loop = loop;
  }

  /** The clock's milliseconds per true millisecond, from now on. */
  setRate(rate: number): void {
    this.#monotonicMs = this.monotonicMs();
    this.#sinceMs = this.#loop.nowMs;
    this.#rate = rate;
  }

  /** The wall clock is set forward or back; the monotonic one knows nothing of it. */
  jump(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  monotonicMs(): number {
    return this.#monotonicMs + (this.#loop.nowMs - this.#sinceMs) * this.#rate;
  }

  /** The clock as one life of the member sees it; `guard` holds timers back while the process stands. */
  forLife(guard: (run: () => void) => void): Clock {
    return {
      monotonicMs: () => this.monotonicMs(),
      wallMs: () => 1_600_000_000_000 + this.monotonicMs() + this.#wallOffsetMs,
      after: (delayMs, run) =>
        this.#loop.after(delayMs / this.#rate, () => {
          guard(run);
        }),
    };
  }
}
