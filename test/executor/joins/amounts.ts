/** Sums by name, exact: what contributions add up to, and what a recomputation finds. */
import type { SqlValue } from '../../../src/sql/index.ts';

export type Amounts = Map<string, bigint[]>;

const SCALE = 6;

/** A number as an integer of millionths. */
export function exact(value: SqlValue): bigint {
  if (typeof value === 'bigint') return value * 10n ** BigInt(SCALE);
  const match = typeof value === 'string' ? /^(-?)(\d+)(?:\.(\d+))?$/.exec(value) : null;
  if (match === null) throw new Error(`not an exact number: ${String(value)}`);
  const [, minus = '', whole = '', fraction = ''] = match;
  if (fraction.length > SCALE) throw new Error(`too many digits: ${String(value)}`);
  return BigInt(`${minus}${whole}${fraction.padEnd(SCALE, '0')}`);
}

export function addTo(amounts: Amounts, name: string, values: readonly bigint[], sign: 1n | -1n): void {
  const standing = amounts.get(name) ?? values.map(() => 0n);
  const sums = values.map((value, at) => (standing[at] ?? 0n) + sign * value);
  if (sums.every((sum) => sum === 0n)) amounts.delete(name);
  else amounts.set(name, sums);
}

/** `to - from`, without what is zero. */
export function difference(to: Amounts | undefined, from: Amounts | undefined): Amounts {
  const found: Amounts = new Map();
  for (const [name, values] of to ?? []) addTo(found, name, values, 1n);
  for (const [name, values] of from ?? []) addTo(found, name, values, -1n);
  return found;
}

/** As text, in the order of the names: two of them are equal if their texts are. */
export function shown(amounts: Amounts): string[] {
  return [...amounts].map(([name, values]) => `${name}: ${values.join(' ')}`).sort();
}
