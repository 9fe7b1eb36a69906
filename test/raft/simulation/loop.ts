/** Virtual time: events in order of time, then of planning. Nothing here looks at a real clock. */

export interface SimEvent {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/** A seeded source of chance (splitmix32): one seed, one run. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Returns a number of [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let mixed = this.#state ^ (this.#state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  }

  /** Returns an integer of [from, to]. */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  hits(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.between(0, items.length - 1)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}

export class SimLoop {
  #nowMs = 0;
  #order = 0;
  readonly #heap: SimEvent[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const event: SimEvent = { atMs: this.#nowMs + delayMs, order: this.#order++, run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** Runs every event of the next `ms`; after each, all promises that can go on do, then `check` looks. */
  async advance(ms: number, check: () => void): Promise<void> {
    const end = this.#nowMs + ms;
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= end; next = this.#heap[0]) {
      this.#pop();
      this.#nowMs = next.atMs;
      if (next.run === undefined) continue;
      next.run();
      await settled();
      check();
    }
    this.#nowMs = end;
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent];
      if (above === undefined || before(above, event)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && before(right, left)) child++;
      const smaller = heap[child];
      if (smaller === undefined || before(last, smaller)) break;
      heap[at] = smaller;
      at = child;
    }
    heap[at] = last;
  }
}

function before(left: SimEvent, right: SimEvent): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}

/** One real turn of the event loop: the product's promises have then gone as far as they can. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
