/**
 * Ids in the order of their keys, in sorted blocks of bounded size: an insert or delete moves at most one
 * block.
 */
const BLOCK_IDS_MAX = 512;
/** Blocks that come sorted already are not filled, so that the next inserts do not split them at once. */
const BLOCK_IDS_FIRST = 384;

/** Compares the key of a row with the key that is looked for: below 0 if the row comes first. */
export type CompareWith = (id: number) => number;

export class KeyOrder {
  readonly #blocks: number[][] = [];

  /** Begins with the ids below `count`, whose keys are in the order of the ids. */
  constructor(count = 0) {
    for (let id = 0; id < count;) {
      const block: number[] = [];
      for (const end = Math.min(count, id + BLOCK_IDS_FIRST); id < end; id++) block.push(id);
      this.#blocks.push(block);
    }
  }

  add(id: number, compare: CompareWith): void {
    if (this.#append(id, compare)) return;
    const at = this.#blockOf(compare);
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push([id]);
      return;
    }
    block.splice(firstAtOrAfter(block, compare), 0, id);
    if (block.length > BLOCK_IDS_MAX) this.#blocks.splice(at + 1, 0, block.splice(BLOCK_IDS_MAX / 2));
  }

  /** Rows of a snapshot come in order: they are not looked for, and blocks are not split in half. */
  #append(id: number, compare: CompareWith): boolean {
    const last = this.#blocks.at(-1);
    if (last === undefined || compare(last.at(-1) ?? 0) > 0) return false;
    if (last.length < BLOCK_IDS_FIRST) last.push(id);
    else this.#blocks.push([id]);
    return true;
  }

  delete(compare: CompareWith): void {
    const at = this.#blockOf(compare);
    const block = this.#blocks[at];
    if (block === undefined) return;
    block.splice(firstAtOrAfter(block, compare), 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
  }

  *ids(): IterableIterator<number> {
    for (const block of this.#blocks) yield* block;
  }

  /** Ids from the key on that `compare` looks for. */
  *from(compare: CompareWith): IterableIterator<number> {
    const first = this.#blockOf(compare);
    for (let at = first; at < this.#blocks.length; at++) {
      const block = this.#blocks[at] ?? [];
      for (let i = at === first ? firstAtOrAfter(block, compare) : 0; i < block.length; i++)
        yield block[i] ?? 0;
    }
  }

  /** The last block whose first key is at or before the key; 0 if there is none. */
  #blockOf(compare: CompareWith): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compare(this.#blocks[middle]?.[0] ?? 0) <= 0) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}

function firstAtOrAfter(ids: readonly number[], compare: CompareWith): number {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compare(ids[middle] ?? 0) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
