/**
 * An order-free checksum of rows: the sum, modulo 2^64, of a hash of each row. Two collections of rows have
 * the same sum whatever order they were written or read in, and a lost, doubled or changed row shows.
 */
import { hash } from 'node:crypto';
import type { SqlValue } from '../../sql/index.ts';

const MODULUS_BITS = 64;

export class RowChecksum {
  #sum = 0n;

  /** Adds one row. `head` is what tells equal rows of different tables and weights apart. */
  add(head: string, row: readonly SqlValue[]): void {
    const digest = hash('sha256', canonical(head, row), 'hex');
    this.#sum = BigInt.asUintN(MODULUS_BITS, this.#sum + BigInt(`0x${digest.slice(0, 16)}`));
  }

  /** 16 hex digits. */
  toString(): string {
    return this.#sum.toString(16).padStart(16, '0');
  }
}

/** One text per row, different for different rows: each value with its type and its length. */
function canonical(head: string, row: readonly SqlValue[]): string {
  let text = head;
  for (const value of row) text += valueText(value);
  return text;
}

/** One text per value, different for different values and for values of different types. */
export function valueText(value: SqlValue): string {
  if (value === null) return '|n';
  if (typeof value === 'bigint') return `|i${value}`;
  if (typeof value === 'number') return `|f${value}`;
  if (typeof value === 'string') return `|t${value.length}:${value}`;
  return `|b${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
}
