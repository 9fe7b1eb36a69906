/** 64-bit numbers of the wire as numbers of JavaScript. */
import { TidemarkError } from '../base/index.ts';

/** Turns a number of the wire into one of JavaScript, refusing what would be rounded. */
export function safeNumber(value: bigint, what: string): number {
  if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new TidemarkError('BAD_REQUEST', `${what} is out of range: ${value}`);
}
