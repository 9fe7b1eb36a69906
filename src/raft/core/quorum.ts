/**
 * Counting. Every decision by majority goes through here, so that a configuration of two halves (joint
 * consensus) changes this file and no other.
 */
import type { MemberId } from '../../base/index.ts';

export type VoteOutcome = 'won' | 'lost' | 'open';

/** The members whose votes and acknowledgements count. */
export class VoterSet {
  readonly ids: readonly MemberId[];
  readonly #scratch: number[] = [];

  constructor(ids: readonly MemberId[]) {
    this.ids = [...ids];
  }

  has(id: MemberId): boolean {
    return this.ids.includes(id);
  }

  /** How many voters are a majority. */
  get majority(): number {
    return Math.floor(this.ids.length / 2) + 1;
  }

  outcome(votes: ReadonlyMap<MemberId, boolean>): VoteOutcome {
    let granted = 0;
    let refused = 0;
    for (const id of this.ids) {
      const vote = votes.get(id);
      if (vote === true) granted++;
      else if (vote === false) refused++;
    }
    if (granted >= this.majority) return 'won';
    return this.ids.length - refused < this.majority ? 'lost' : 'open';
  }

  /** Returns the greatest value that a majority has reached: the commit index of their matches. */
  reached(valueOf: (id: MemberId) => number): number {
    const values = this.#scratch;
    values.length = 0;
    for (const id of this.ids) values.push(valueOf(id));
    values.sort((left, right) => right - left);
    return values[this.majority - 1] ?? 0;
  }

  /** Tells whether `holds` is true of a majority. */
  agree(holds: (id: MemberId) => boolean): boolean {
    let count = 0;
    for (const id of this.ids) if (holds(id)) count++;
    return count >= this.majority;
  }
}
