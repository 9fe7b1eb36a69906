/** A sorted table of records that remembers which of its keys changed, and what was stored of each. */
import { mutated } from '../base/index.ts';
import type { TableWriter } from './commands/writer.ts';
import { damagedRow, encodeRow } from './row-codec.ts';
import type { Hash64 } from './row-hash.ts';
import { SortedTable } from './sorted-table.ts';

/** Hears of every row that comes, changes or goes, with the one before it. */
type Follow<R> = (key: string, row: R | undefined, before: R | undefined) => void;

/** A table that remembers which of its keys changed. */
export class TrackedTable<R extends object> implements TableWriter<R> {
  readonly name: string;
  readonly dirty = new Set<string>();
  /** Hash of every row as it was last taken or loaded. */
  readonly hashes = new Map<string, Readonly<Hash64>>();
  readonly #rows = new SortedTable<R>();
  readonly #follow: Follow<R> | undefined;

  constructor(name: string, follow?: Follow<R>) {
    this.name = name;
    this.#follow = follow;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): R | undefined {
    return this.#rows.get(key);
  }

  values(): IterableIterator<R> {
    return this.#rows.values();
  }

  withPrefix(prefix: string): IterableIterator<R> {
    return this.#rows.withPrefix(prefix);
  }

  valuesFrom(key: string): IterableIterator<R> {
    return this.#rows.valuesFrom(key);
  }

  valuesBack(): IterableIterator<R> {
    return this.#rows.valuesBack();
  }

  put(key: string, row: R): void {
    this.load(key, row);
    this.dirty.add(key);
  }

  delete(key: string): void {
    const before = this.#rows.get(key);
    if (before === undefined) return;
    this.#rows.delete(key);
    this.#follow?.(key, undefined, before);
    this.dirty.add(key);
  }

  /**
   * Compares rows with the hashes that they were stored under, from behind `key` on, about `bytes` of them.
   * Returns the key behind which to go on; undefined at the end.
   * @throws TidemarkError `DATA_CORRUPT`.
   */
  checkBehind(key: string, bytes: number): string | undefined {
    let left = bytes;
    for (const next of this.#rows.keysBehind(key)) {
      if (!this.dirty.has(next)) left -= this.#check(next);
      if (left <= 0) return next;
    }
    if (this.dirty.size === 0 && this.size !== this.hashes.size) throw damagedRow(`${this.name}/* in memory`);
    return undefined;
  }

  /** Returns about how many bytes were compared. */
  #check(key: string): number {
    const fullKey = `${this.name}/${key}`;
    const row = this.#rows.get(key);
    const before = this.hashes.get(key);
    const now = row === undefined ? undefined : encodeRow(fullKey, row);
    const same = now?.hash.high === before?.high && now?.hash.low === before?.low;
    if (!same && !mutated('state.scrubIgnoresRecords')) throw damagedRow(`${fullKey} in memory`);
    return fullKey.length + (now?.bytes.length ?? 0);
  }

  /** Takes a row that is stored already. */
  load(key: string, row: R): void {
    const before = this.#follow === undefined ? undefined : this.#rows.get(key);
    this.#rows.set(key, row);
    this.#follow?.(key, row, before);
  }
}
