/**
 * Fencing tokens (design section 5): `term << 40 | n`. The high 23 bits are the Raft term of the entry
 * that made the grant, the low 40 a replicated counter that never repeats, so a token is a positive
 * signed 64-bit integer everywhere and grows strictly over leaders and restarts.
 *
 * A token is a BigInt in code, a decimal string in JSON and msgpack, `int64` on the wire, `BIGINT` in
 * MySQL. It is never a JS number: one above 2^53 would be rounded and two grants would share a token.
 */
import { assert } from './assert.ts';
import { TERM_MAX, type Term } from './ids.ts';

declare const tokenBrand: unique symbol;
export type FencingToken = bigint & { readonly [tokenBrand]: 'FencingToken' };

export const GRANT_BITS = 40n;
export const GRANT_MAX = 2 ** 40 - 1;
export const TOKEN_MAX = 2n ** 63n - 1n;

export function makeToken(grant: { readonly term: Term; readonly n: number }): FencingToken {
  assert(
    Number.isSafeInteger(grant.term) && grant.term > 0 && grant.term <= TERM_MAX,
    'a grant has a term of 1 to 2^23-1',
  );
  assert(
    Number.isSafeInteger(grant.n) && grant.n > 0 && grant.n <= GRANT_MAX,
    'a grant number is 1 to 2^40-1',
  );
  return ((BigInt(grant.term) << GRANT_BITS) | BigInt(grant.n)) as FencingToken;
}

/** Checks a token that came from outside (wire, database, JSON). */
export function asToken(value: bigint): FencingToken {
  assert(value > 0n && value <= TOKEN_MAX, () => `not a fencing token: ${value}`);
  return value as FencingToken;
}

export function parseToken(text: string): FencingToken {
  assert(/^[1-9][0-9]{0,18}$/.test(text), () => `not a fencing token: ${text}`);
  return asToken(BigInt(text));
}

export function tokenTerm(token: FencingToken): number {
  return Number(token >> GRANT_BITS);
}
