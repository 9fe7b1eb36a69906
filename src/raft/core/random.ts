/**
 * A deterministic sequence from a seed (mulberry32, public domain): the core's only source of chance, so that
 * the same inputs always give the same effects. The seed comes from outside and differs from node to node.
 */
export class RandomSequence {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Returns an integer of `[0, below)`. */
  next(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }
}
