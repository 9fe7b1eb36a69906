/**
 * Packs stored rows into what a table is made of, as they come out of the files: in the order of their keys,
 * each key once. That order makes it cheap: ids count up, and the index is built when all rows are in.
 */
import { mutated } from '../../base/index.ts';
import type { RowInFile } from '../../leveldb/index.ts';
import { damagedRow } from '../row-codec.ts';
import { HashSum } from '../row-hash.ts';
import { hashKey, indexOf } from './key-index.ts';
import { checkRowForm, rowMatchesHash, storedHash, valueBytesOf } from './key-value-row.ts';
import { PREFIX_BYTES, type KeyValueParts } from './key-value-table.ts';
import { PackedRows } from './packed-rows.ts';

/** Longer ones are left to the library, which makes an object for each. */
const SHORT_BYTES = 1_024;

export class KeyValueLoader {
  readonly #rows = new PackedRows();
  readonly #sum = new HashSum();
  #hashes = new Uint32Array(1_024);
  #size = 0;
  #dataBytes = 0;
  #file: Buffer | undefined;
  #view: DataView = new DataView(new ArrayBuffer(0));

  /**
   * Takes a row whose key begins at `keyAt`.
   * @throws TidemarkError `DATA_CORRUPT` if any bit of key or row differs, `FORMAT_UNKNOWN`.
   */
  add({ key, keyBytes, file, valueAt, valueEnd }: RowInFile, keyAt: number): void {
    const name = (): string => key.toString('utf8', keyAt, keyBytes);
    checkRowForm(file, { from: valueAt, to: valueEnd }, name);
    const length = keyBytes - keyAt;
    const id = this.#rows.add(length, valueEnd - valueAt);
    const slot = this.#rows.slotOf(id);
    const { bytes } = slot.slab;
    for (let i = 0; i < length; i++) bytes[slot.keyAt + i] = key[keyAt + i] as number;
    if (valueEnd - valueAt > SHORT_BYTES) bytes.set(file.subarray(valueAt, valueEnd), slot.rowAt);
    else copyWords(this.#viewOf(file), { from: valueAt, to: valueEnd }, slot.slab.view, slot.rowAt);
    if (!rowMatchesHash(slot) && !mutated('state.rowChecksumIgnored')) throw damagedRow(name());
    this.#sum.add(storedHash(slot));
    this.#dataBytes += length - PREFIX_BYTES + valueBytesOf(slot);
    if (id >= this.#hashes.length) this.#grow();
    this.#hashes[id] = hashKey(key, keyAt, keyBytes);
    this.#size += 1;
  }

  /** What the table is made of, to be moved to another thread. Nothing may be added any more. */
  parts(): KeyValueParts {
    return {
      rows: this.#rows.parts(),
      index: indexOf(this.#hashes, this.#size),
      size: this.#size,
      dataBytes: this.#dataBytes,
      sum: this.#sum.value,
    };
  }

  #viewOf(file: Buffer): DataView {
    if (this.#file === file) return this.#view;
    this.#file = file;
    this.#view = new DataView(file.buffer, file.byteOffset, file.length);
    return this.#view;
  }

  #grow(): void {
    const hashes = new Uint32Array(this.#hashes.length * 2);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
  }
}

function copyWords(from: DataView, range: { from: number; to: number }, into: DataView, at: number): void {
  const shift = at - range.from;
  let byte = range.from;
  for (; byte + 4 <= range.to; byte += 4) into.setInt32(byte + shift, from.getInt32(byte, true), true);
  for (; byte < range.to; byte++) into.setUint8(byte + shift, from.getUint8(byte));
}
