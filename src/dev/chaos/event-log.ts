/** What children told, in order, and a way to wait for what they will tell. */
import { sleep, systemClock } from '../../base/index.ts';

/** Older events are dropped; nobody waits for longer than these last. */
const EVENTS_MAX = 10_000;
const LOOK_EVERY_MS = 10;

export class EventLog<T> {
  #events: { readonly at: number; readonly event: T }[] = [];
  #count = 0;

  add(event: T): void {
    this.#count += 1;
    this.#events.push({ at: this.#count, event });
    if (this.#events.length > EVENTS_MAX) this.#events = this.#events.slice(-EVENTS_MAX / 2);
  }

  /** A place in the order: {@link after} counts only events that are added from now on. */
  get mark(): number {
    return this.#count;
  }

  /** Resolves with the first event after `mark` that `matches`, or undefined when none came in time. */
  async after(mark: number, matches: (event: T) => boolean, withinMs: number): Promise<T | undefined> {
    const deadline = systemClock.monotonicMs() + withinMs;
    for (;;) {
      const found = this.#events.find((item) => item.at > mark && matches(item.event));
      if (found !== undefined) return found.event;
      if (systemClock.monotonicMs() > deadline) return undefined;
      await sleep(systemClock, LOOK_EVERY_MS);
    }
  }
}
