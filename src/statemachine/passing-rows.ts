/**
 * Rows of a snapshot that are checked and summed on their way. Keys and values, which may be larger than the
 * memory that a command should take, are not kept; the few rows of the other tables are.
 */
import { mutated } from '../base/index.ts';
import { checkRowForm } from './key-values/key-value-row.ts';
import { KEY_VALUE_PREFIX } from './key-values/key-value-table.ts';
import { MemoryState } from './memory-state.ts';
import { checkRow } from './row-codec.ts';
import { HashSum } from './row-hash.ts';

export class PassingRows {
  /** All tables but that of keys and values. */
  readonly others = new MemoryState();
  readonly #sum = new HashSum();
  #keys = 0;

  /** Keys and values that have passed. */
  get keys(): number {
    return this.#keys;
  }

  /** @throws TidemarkError `DATA_CORRUPT` for a damaged row or one of no table, `FORMAT_UNKNOWN`. */
  loadRow(fullKey: string, bytes: Uint8Array): void {
    if (!fullKey.startsWith(KEY_VALUE_PREFIX) || mutated('backup.keepsRows')) {
      this.others.loadRow(fullKey, bytes);
      return;
    }
    checkRowForm(bytes, { from: 0, to: bytes.length }, () => fullKey);
    this.#sum.add(checkRow(fullKey, bytes));
    this.#keys += 1;
  }

  /** Returns the digest of all rows that have passed: 16 hex digits. */
  loaded(): string {
    const sum = new HashSum();
    sum.add(this.#sum.value);
    sum.add(this.others.sum.value);
    return sum.text;
  }
}
