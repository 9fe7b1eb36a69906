/**
 * Rows by key in key order, in memory. Keys lie in sorted blocks of bounded size: an insert or delete moves
 * at most one block, and a walk from any key on costs what it visits.
 */
import type { TableView } from './view.ts';

const BLOCK_KEYS_MAX = 512;

export class SortedTable<R> implements TableView<R> {
  readonly #rows = new Map<string, R>();
  readonly #blocks: string[][] = [];

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): R | undefined {
    return this.#rows.get(key);
  }

  set(key: string, row: R): void {
    if (!this.#rows.has(key)) this.#insertKey(key);
    this.#rows.set(key, row);
  }

  delete(key: string): void {
    if (!this.#rows.delete(key)) return;
    const at = this.#blockOf(key);
    const block = this.#blocks[at];
    if (block === undefined) return;
    block.splice(firstAtOrAfter(block, key), 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
  }

  *keys(): IterableIterator<string> {
    for (const block of this.#blocks) yield* block;
  }

  /** Keys behind this one, which may be none of the table. */
  *keysBehind(key: string): IterableIterator<string> {
    for (const found of this.#keysFrom(key)) if (found !== key) yield found;
  }

  *values(): IterableIterator<R> {
    for (const block of this.#blocks) {
      for (const key of block) yield this.#row(key);
    }
  }

  *withPrefix(prefix: string): IterableIterator<R> {
    for (const key of this.#keysFrom(prefix)) {
      if (!key.startsWith(prefix)) return;
      yield this.#row(key);
    }
  }

  *valuesFrom(key: string): IterableIterator<R> {
    for (const found of this.#keysFrom(key)) yield this.#row(found);
  }

  /** All rows, against key order. */
  *valuesBack(): IterableIterator<R> {
    for (let at = this.#blocks.length - 1; at >= 0; at--) {
      const block = this.#blocks[at] ?? [];
      for (let i = block.length - 1; i >= 0; i--) yield this.#row(block[i] ?? '');
    }
  }

  *#keysFrom(key: string): IterableIterator<string> {
    const first = this.#blockOf(key);
    for (let at = first; at < this.#blocks.length; at++) {
      const block = this.#blocks[at] ?? [];
      for (let i = at === first ? firstAtOrAfter(block, key) : 0; i < block.length; i++) yield block[i] ?? '';
    }
  }

  #row(key: string): R {
    return this.#rows.get(key) as R;
  }

  #insertKey(key: string): void {
    const at = this.#blockOf(key);
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push([key]);
      return;
    }
    block.splice(firstAtOrAfter(block, key), 0, key);
    if (block.length > BLOCK_KEYS_MAX) this.#blocks.splice(at + 1, 0, block.splice(BLOCK_KEYS_MAX / 2));
  }

  /** The last block whose first key is at or before `key`; 0 if there is none. */
  #blockOf(key: string): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const first = this.#blocks[middle]?.[0] ?? '';
      if (first <= key) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}

function firstAtOrAfter(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] ?? '') < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
