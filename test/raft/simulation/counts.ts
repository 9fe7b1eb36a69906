/** Counts what happened in simulated runs: a fault that never struck proves nothing (evidence.md, rule 3). */

/** Faults that a seed may switch on. Each is drawn apart, so that runs differ in what they are tried by. */
export const FAULTS = [
  'loss',
  'duplicate',
  'straggler',
  'replay',
  'isolation',
  'one-way-cut',
  'ring',
  'bridge',
  'random-cut',
  'flapping',
  'false-death',
  'pause',
  'clock-offset',
  'clock-drift',
  'clock-jump',
  'crash',
  'crash-of-all',
  'crash-at-io',
  'lost-tail',
  'slow-disk',
  'stalled-disk',
  'full-disk',
  'failed-write',
  'bit-flip',
  'lost-record',
  'torn-batch',
  'rollback',
  'wipe',
  'tiny-limits',
  'tiny-logs',
  'transfer',
  'operator',
  'crash-in-install',
  'damaged-state',
  'lost-state',
  'split-change',
  'crash-in-change',
] as const;
export type Fault = (typeof FAULTS)[number];

/** What the oracles judge only if it happens. */
export const PRECONDITIONS = [
  'leader-change',
  'snapshot-install',
  'membership-change',
  'joint-change',
  'change-undone',
  'replaced-entries',
  'indeterminate-write',
  'retried-write',
  'damage-detected',
  'state-lost',
  'rest-stayed-broken',
] as const;
export type Precondition = (typeof PRECONDITIONS)[number];

export type Event = Fault | Precondition;

export class Counts {
  readonly #counts = new Map<Event, number>();

  add(event: Event, times = 1): void {
    this.#counts.set(event, this.of(event) + times);
  }

  addAll(other: Counts): void {
    for (const [event, times] of other.#counts) this.add(event, times);
  }

  of(event: Event): number {
    return this.#counts.get(event) ?? 0;
  }

  /** What occurred less often than `least`. */
  rare(least: number): readonly Event[] {
    return [...FAULTS, ...PRECONDITIONS].filter((event) => this.of(event) < least);
  }

  toString(): string {
    return [...FAULTS, ...PRECONDITIONS].map((event) => `${event} ${this.of(event)}`).join(', ');
  }
}
