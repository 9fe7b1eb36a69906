/**
 * Keys and values of clients, packed as the bytes that are stored. A row's object is made when it is asked
 * for, and one that changed is handed to the store as it lies.
 */
import { mutated } from '../../base/index.ts';
import type { KeyValueRecord, KeyValueStanding } from '../commands/records.ts';
import type { KeyValueWriter } from '../commands/writer.ts';
import { damagedRow, type RowChange } from '../row-codec.ts';
import { HashSum } from '../row-hash.ts';
import { hashKey, KeyIndex, type IndexParts } from './key-index.ts';
import { KeyOrder } from './key-order.ts';
import {
  checkRowForm,
  revisionOf,
  ROW_EXTRA_BYTES,
  rowMatchesHash,
  storedHash,
  valueBytesOf,
  valueOf,
  versionOf,
  writeRow,
} from './key-value-row.ts';
import { PackedRows, type PackedParts } from './packed-rows.ts';

/** Begins the key of each row of this table in the database. */
export const KEY_VALUE_PREFIX = 'kv/';
export const PREFIX_BYTES = KEY_VALUE_PREFIX.length;

const GONE = -1;

/** A whole table as it goes from one thread to another; its buffers are moved, not copied. */
export interface KeyValueParts {
  readonly rows: PackedParts;
  readonly index: IndexParts;
  /** Ids are the numbers below this, in the order of their keys. */
  readonly size: number;
  readonly dataBytes: number;
  readonly sum: { readonly high: number; readonly low: number };
}

export class KeyValueTable implements KeyValueWriter {
  readonly sum = new HashSum();
  readonly #rows: PackedRows;
  readonly #index: KeyIndex;
  readonly #order: KeyOrder;
  #dataBytes: number;
  #size: number;
  /** Ids by the keys that changed since {@link takeChanges}; of a key that went, {@link GONE}. */
  readonly #dirty = new Map<string, number>();
  readonly #probe = new Probe();

  constructor(parts?: KeyValueParts) {
    this.#rows = new PackedRows(parts?.rows);
    this.#index = new KeyIndex(parts?.index);
    this.#order = new KeyOrder(parts?.size);
    this.#dataBytes = parts?.dataBytes ?? 0;
    this.#size = parts?.size ?? 0;
    if (parts !== undefined) this.sum.add(parts.sum);
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes of all keys (without {@link KEY_VALUE_PREFIX}) and values. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  /** Bytes of memory that rows take. */
  get heldBytes(): number {
    return this.#rows.bytes;
  }

  get(key: string): KeyValueRecord | undefined {
    const id = this.#find(key);
    return id < 0 ? undefined : this.#record(id);
  }

  standing(key: string): KeyValueStanding | undefined {
    const id = this.#find(key);
    if (id < 0) return undefined;
    const slot = this.#rows.slotOf(id);
    return { revision: revisionOf(slot), version: versionOf(slot) };
  }

  *values(): IterableIterator<KeyValueRecord> {
    for (const id of this.#order.ids()) yield this.#record(id);
  }

  *withPrefix(prefix: string): IterableIterator<KeyValueRecord> {
    const probe = new Probe();
    probe.set(prefix);
    for (const id of this.#order.from((row) => this.#compare(row, probe))) {
      const { slab, keyAt, rowAt } = this.#rows.slotOf(id);
      const { length } = probe;
      if (rowAt - keyAt < length || slab.bytes.compare(probe.bytes, 0, length, keyAt, keyAt + length) !== 0)
        return;
      yield this.#record(id);
    }
  }

  put(key: string, row: KeyValueRecord): void {
    let id = this.#find(key);
    if (id < 0) {
      id = this.#add(this.#probe, row.value.length + ROW_EXTRA_BYTES);
    } else {
      const before = this.#rows.slotOf(id);
      this.sum.take(storedHash(before));
      this.#dataBytes -= valueBytesOf(before);
      this.#rows.resize(id, row.value.length + ROW_EXTRA_BYTES);
    }
    const slot = this.#rows.slotOf(id);
    writeRow(slot, row);
    this.sum.add(storedHash(slot));
    this.#dataBytes += row.value.length;
    this.#dirty.set(key, id);
  }

  delete(key: string): void {
    const id = this.#find(key);
    if (id < 0) return;
    const slot = this.#rows.slotOf(id);
    const { keyAt, rowAt } = slot;
    if (!mutated('state.digestIgnoresDeletes')) this.sum.take(storedHash(slot));
    this.#dataBytes -= valueBytesOf(slot) + (rowAt - keyAt - PREFIX_BYTES);
    this.#order.delete((row) => this.#compare(row, this.#probe));
    this.#index.delete(this.#probe.hash, id);
    this.#rows.delete(id);
    this.#size -= 1;
    this.#dirty.set(key, GONE);
    this.#probe.forget();
  }

  /** Adds what has changed since the last call. Bytes are views, good until the next change of this table. */
  takeChanges(into: RowChange[]): void {
    for (const [key, id] of this.#dirty) {
      const fullKey = KEY_VALUE_PREFIX + key;
      if (id === GONE) {
        into.push({ fullKey, bytes: undefined });
        continue;
      }
      const { slab, rowAt, end } = this.#rows.slotOf(id);
      into.push({ fullKey, bytes: slab.bytes.subarray(rowAt, end) });
    }
    this.#dirty.clear();
  }

  /**
   * Takes a stored row of a key that is not in the table.
   * @throws TidemarkError `DATA_CORRUPT` if any bit of key or row differs, `FORMAT_UNKNOWN`.
   */
  load(fullKey: string, row: Uint8Array): void {
    const key = Buffer.from(fullKey);
    const id = this.#insert(key, row);
    const probe = { bytes: key, length: key.length };
    this.#order.add(id, (other) => this.#compare(other, probe));
  }

  /**
   * Compares rows as they lie in memory with their hashes, from an id on and no further than a step goes.
   * Returns the id to go on with; undefined at the end.
   * @throws TidemarkError `DATA_CORRUPT`.
   */
  checkFrom(first: number, step: { readonly rows: number; readonly bytes: number }): number | undefined {
    const end = Math.min(first + step.rows, this.#rows.idsEnd);
    let bytes = 0;
    let id = first;
    for (; id < end && bytes < step.bytes; id++) {
      if (!this.#rows.isLive(id)) continue;
      const slot = this.#rows.slotOf(id);
      bytes += slot.end - slot.keyAt;
      if (rowMatchesHash(slot)) continue;
      throw damagedRow(`${slot.slab.bytes.toString('utf8', slot.keyAt, slot.rowAt)} in memory`);
    }
    return id < this.#rows.idsEnd ? id : undefined;
  }

  #insert(key: Uint8Array, row: Uint8Array): number {
    const name = (): string => Buffer.from(key).toString();
    checkRowForm(row, { from: 0, to: row.length }, name);
    this.#probe.forget();
    const id = this.#place({ bytes: key, length: key.length, hash: hashKey(key, 0, key.length) }, row.length);
    const slot = this.#rows.slotOf(id);
    slot.slab.bytes.set(row, slot.rowAt);
    if (!rowMatchesHash(slot) && !mutated('state.rowChecksumIgnored')) throw damagedRow(name());
    this.sum.add(storedHash(slot));
    this.#dataBytes += valueBytesOf(slot);
    return id;
  }

  #add(probe: Probe, rowBytes: number): number {
    const id = this.#place(probe, rowBytes);
    this.#order.add(id, (other) => this.#compare(other, probe));
    probe.found = id;
    return id;
  }

  #place({ bytes, length, hash }: HashedKey, rowBytes: number): number {
    const id = this.#rows.add(length, rowBytes);
    const { slab, keyAt } = this.#rows.slotOf(id);
    for (let i = 0; i < length; i++) slab.bytes[keyAt + i] = bytes[i] as number;
    this.#index.add(hash, id);
    this.#dataBytes += length - PREFIX_BYTES;
    this.#size += 1;
    return id;
  }

  /** Returns the id of a key's row, or -1; the probe holds the key then. */
  #find(key: string): number {
    const probe = this.#probe;
    if (probe.is(key)) return probe.found;
    probe.set(key);
    probe.found = this.#index.find(probe.hash, (id) => this.#isKey(id, probe));
    return probe.found;
  }

  #isKey(id: number, { bytes, length }: Key): boolean {
    const { slab, keyAt, rowAt } = this.#rows.slotOf(id);
    if (rowAt - keyAt !== length) return false;
    for (let i = PREFIX_BYTES; i < length; i++) if (slab.bytes[keyAt + i] !== bytes[i]) return false;
    return true;
  }

  #compare(id: number, { bytes, length }: Key): number {
    const { slab, keyAt, rowAt } = this.#rows.slotOf(id);
    return slab.bytes.compare(bytes, 0, length, keyAt, rowAt);
  }

  #record(id: number): KeyValueRecord {
    const slot = this.#rows.slotOf(id);
    return { value: valueOf(slot), revision: revisionOf(slot), version: versionOf(slot) };
  }
}

interface Key {
  readonly bytes: Uint8Array;
  readonly length: number;
}

interface HashedKey extends Key {
  readonly hash: number;
}

/** The key that is looked for, as bytes with their hash. The same key twice in a row is looked up once. */
class Probe implements HashedKey {
  bytes = Buffer.alloc(256);
  length = 0;
  hash = 0;
  /** The id that {@link text} was found under; -1 if there is no such row. */
  found = -1;
  #text: string | undefined;

  is(text: string): boolean {
    return text === this.#text;
  }

  forget(): void {
    this.#text = undefined;
  }

  set(text: string): void {
    this.#text = text;
    this.#reserve(PREFIX_BYTES + 3 * text.length);
    this.bytes.write(KEY_VALUE_PREFIX, 0, 'latin1');
    this.length = PREFIX_BYTES + this.bytes.write(text, PREFIX_BYTES);
    this.hash = hashKey(this.bytes, 0, this.length);
  }

  #reserve(bytes: number): void {
    if (bytes > this.bytes.length) this.bytes = Buffer.alloc(2 * bytes);
  }
}
