/**
 * Digests of the last states at fixed indexes, for comparison with those of other members: groups of applied
 * entries end elsewhere on each of them, but all of them end one at each checkpoint.
 */
import { LIMITS } from '../base/index.ts';

export interface DigestAt {
  readonly index: number;
  /** 16 hex digits. */
  readonly digest: string;
}

export class DigestHistory {
  readonly #kept: DigestAt[] = [];

  /** Takes the state after a group; only checkpoints are kept, the newest ones. */
  add(at: DigestAt): void {
    if (!isCheckpoint(at.index)) return;
    this.#kept.push(at);
    if (this.#kept.length > LIMITS.digestCheckpointsKept) this.#kept.shift();
  }

  /** In the order of their indexes. */
  get checkpoints(): readonly DigestAt[] {
    return [...this.#kept];
  }
}

/** Tells whether a group of applied entries ends at this index, on every member. */
export function isCheckpoint(index: number): boolean {
  return index % LIMITS.digestCheckpointEntries === 0;
}
