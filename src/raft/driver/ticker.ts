/**
 * The clock of the core. After a stall Node runs due timers before it reads what waits in its sockets, so a
 * follower that wakes would campaign although heartbeats lie unread: a tick is therefore given two turns of
 * the event loop after its timer, when what had arrived has been read. A late tick is one tick; it is never
 * made up for.
 */
import type { Cancel, Clock } from '../../base/index.ts';

export interface TickerParts {
  readonly clock: Clock;
  readonly tickMs: number;
  /** A gap above this many milliseconds is a stall. */
  readonly stallMs: number;
  /** Runs something in a later turn of the event loop, after what waits in sockets was read. */
  readonly laterTurn: (run: () => void) => void;
  readonly onStall: (gapMs: number) => void;
  readonly onTick: () => void;
}

export class Ticker {
  readonly #parts: TickerParts;
  #monotonicMs: number;
  #wallMs: number;
  #cancel: Cancel | undefined;
  #stopped = false;

  constructor(parts: TickerParts) {
    this.#parts = parts;
    this.#monotonicMs = parts.clock.monotonicMs();
    this.#wallMs = parts.clock.wallMs();
  }

  start(): void {
    this.#cancel = this.#parts.clock.after(this.#parts.tickMs, () => {
      this.#parts.laterTurn(() => {
        this.#parts.laterTurn(() => {
          this.#tick();
        });
      });
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  /**
   * True while the last tick is so old that the process must have been stalled. The monotonic clock stands
   * still while the machine sleeps, so the wall clock is asked too; a jump of it costs one proof, nothing
   * else.
   */
  get stalled(): boolean {
    return this.#gapMs() > this.#parts.stallMs;
  }

  #gapMs(): number {
    const { clock } = this.#parts;
    return Math.max(clock.monotonicMs() - this.#monotonicMs, clock.wallMs() - this.#wallMs);
  }

  #tick(): void {
    if (this.#stopped) return;
    const gapMs = this.#gapMs();
    this.#monotonicMs = this.#parts.clock.monotonicMs();
    this.#wallMs = this.#parts.clock.wallMs();
    if (gapMs > this.#parts.stallMs) this.#parts.onStall(gapMs);
    this.#parts.onTick();
    this.start();
  }
}
