/** Reads LevelDB's variable-length integers and slices, never beyond the end. */
import { TidemarkError } from '../base/index.ts';

export class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** File numbers and sizes stay far below 2^53, though the format allows 2^64. */
  varint(): number {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 49; factor *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw new TidemarkError('DATA_CORRUPT', 'a number is cut off');
  }

  /** Returns the next `length` bytes; without `length`, those that a number before them counts. */
  slice(length = this.varint()): Buffer {
    const from = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new TidemarkError('DATA_CORRUPT', 'a field is cut off');
    return this.#bytes.subarray(from, this.#at);
  }
}
