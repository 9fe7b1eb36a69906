/**
 * How many bytes each entry of a log weighs: to read it again in order to count what is forgotten would hold
 * up the write that forgets it, for seconds where entries are large.
 */
const STRETCH = 1_024;

export class EntrySizes {
  readonly #stretches = new Map<number, Uint32Array>();
  #total = 0;

  /** Bytes of all entries. */
  get total(): number {
    return this.#total;
  }

  /** Adds an entry that is not counted. */
  add(index: number, bytes: number): void {
    const number = Math.floor(index / STRETCH);
    let stretch = this.#stretches.get(number);
    if (stretch === undefined) {
      stretch = new Uint32Array(STRETCH);
      this.#stretches.set(number, stretch);
    }
    stretch[index % STRETCH] = bytes;
    this.#total += bytes;
  }

  /** Forgets the entries `from` to `to`, both included, at the beginning or the end of the log. */
  forget(from: number, to: number): void {
    for (let index = from; index <= to; index++) {
      const number = Math.floor(index / STRETCH);
      const stretch = this.#stretches.get(number);
      if (stretch === undefined) continue;
      this.#total -= stretch[index % STRETCH] ?? 0;
      stretch[index % STRETCH] = 0;
    }
    const [first, last] = [Math.floor(from / STRETCH), Math.floor(to / STRETCH)];
    for (let number = first; number <= last; number++) {
      if (this.#stretches.get(number)?.every((bytes) => bytes === 0) === true) this.#stretches.delete(number);
    }
  }
}
