/** Reads values that our own statements selected: any other type is a mistake of ours, not of the data. */
import { assert } from '../../base/index.ts';
import type { SqlValue } from '../../sql/index.ts';

/** Reads an integer; MySQL gives sums of integers as DECIMAL, which arrive as text. */
export function asBigint(value: SqlValue | undefined): bigint {
  if (typeof value === 'bigint') return value;
  assert(typeof value === 'string' && /^-?[0-9]+$/.test(value), () => `not an integer: ${String(value)}`);
  return BigInt(value);
}

export function asText(value: SqlValue | undefined): string {
  assert(typeof value === 'string', () => `not a text: ${String(value)}`);
  return value;
}
