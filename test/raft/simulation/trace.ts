/** A running hash of all that happens in a run: two runs of one seed must have the same (FNV-1a). */
export class Trace {
  #hash = 0x811c9dc5;

  add(...values: readonly (number | string | Uint8Array)[]): void {
    for (const value of values) {
      if (typeof value === 'number') this.#byte(Math.round(value * 1_000));
      else if (typeof value === 'string')
        for (let at = 0; at < value.length; at++) this.#byte(value.charCodeAt(at));
      else for (const byte of value) this.#byte(byte);
    }
  }

  get text(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  #byte(value: number): void {
    this.#hash = Math.imul(this.#hash ^ value, 0x01000193);
  }
}
