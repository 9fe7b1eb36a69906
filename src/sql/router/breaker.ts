/** Keeps work away from a server that fails, and lets one question through after a while (half-open). */
import { mutated, type Clock } from '../../base/index.ts';

const ERRORS_MAX = 3;
const WITHIN_MS = 10_000;
const OPEN_MS = 15_000;

export type BreakerState = 'closed' | 'open' | 'half-open';

export class Breaker {
  readonly #clock: Clock;
  #failuresMs: number[] = [];
  #openedMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get state(): BreakerState {
    if (this.#openedMs === undefined) return 'closed';
    const open = this.#clock.monotonicMs() - this.#openedMs < OPEN_MS || mutated('sql.breakerStaysOpen');
    return open ? 'open' : 'half-open';
  }

  /** Notes an error of the server itself; answers whether that opens the breaker. */
  failed(): boolean {
    const now = this.#clock.monotonicMs();
    if (this.state === 'open') return false;
    this.#failuresMs = [...this.#failuresMs.filter((ms) => now - ms < WITHIN_MS), now];
    // The one question that was let through decides.
    if (this.#openedMs === undefined && this.#failuresMs.length < ERRORS_MAX) return false;
    this.#openedMs = now;
    return true;
  }

  succeeded(): void {
    this.#failuresMs = [];
    this.#openedMs = undefined;
  }
}
