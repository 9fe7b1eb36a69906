/**
 * Counting. Every decision by majority goes through here: by the majority of the voters, and while two
 * configurations are joint, by the majorities of both (paper, section 6; thesis, section 4.3).
 */
import { mutated, type MemberId } from '../../base/index.ts';
import { votersOf } from '../configuration.ts';
import type { Configuration } from '../types.ts';

const NOBODY: readonly MemberId[] = [];

export type VoteOutcome = 'won' | 'lost' | 'open';

/** Members one majority of which decides. */
class Half {
  readonly ids: readonly MemberId[];
  readonly #majority: number;
  readonly #scratch: number[] = [];

  constructor(ids: readonly MemberId[]) {
    this.ids = ids;
    this.#majority = Math.floor(ids.length / 2) + 1;
  }

  outcome(votes: ReadonlyMap<MemberId, boolean>): VoteOutcome {
    let granted = 0;
    let refused = 0;
    for (const id of this.ids) {
      const vote = votes.get(id);
      if (vote === true) granted++;
      else if (vote === false) refused++;
    }
    if (granted >= this.#majority) return 'won';
    return this.ids.length - refused < this.#majority ? 'lost' : 'open';
  }

  reached(valueOf: (id: MemberId) => number, besides: readonly MemberId[]): number {
    const values = this.#scratch;
    values.length = 0;
    for (const id of this.ids) values.push(valueOf(id));
    for (const id of besides) if (!this.ids.includes(id)) values.push(valueOf(id));
    values.sort((left, right) => right - left);
    return values[this.#majority - 1] ?? 0;
  }

  agree(holds: (id: MemberId) => boolean): boolean {
    let count = 0;
    for (const id of this.ids) if (holds(id)) count++;
    return count >= this.#majority;
  }
}

/** Whose votes and acknowledgements count under one configuration. Nobody decides where there is no voter. */
export class Quorum {
  readonly #new: Half;
  readonly #old: Half | undefined;
  readonly #members: ReadonlySet<MemberId>;
  readonly #learners: readonly MemberId[];
  /** Of both halves. */
  readonly voters: readonly MemberId[];

  constructor(configuration: Omit<Configuration, 'index' | 'nextMemberId'>) {
    const { members, outgoing } = configuration;
    this.#new = new Half(votersOf(configuration));
    this.#old = outgoing.length === 0 ? undefined : new Half(outgoing);
    this.#members = new Set(members.map(({ id }) => id));
    this.voters = [...new Set([...this.#new.ids, ...outgoing])];
    this.#learners = members.map(({ id }) => id).filter((id) => !this.voters.includes(id));
  }

  /** Tells whether this is a voter or a learner. */
  knows(id: MemberId): boolean {
    return this.#members.has(id);
  }

  isVoter(id: MemberId): boolean {
    return this.voters.includes(id);
  }

  /** Tells whether this is a voter of what comes, which is what there is unless two halves are joint. */
  staysVoter(id: MemberId): boolean {
    return this.#new.ids.includes(id);
  }

  outcome(votes: ReadonlyMap<MemberId, boolean>): VoteOutcome {
    const old = this.#old?.outcome(votes);
    if (old === undefined) return this.#new.outcome(votes);
    if (mutated('raft.votesInOldConfiguration')) return old;
    const outcome = this.#new.outcome(votes);
    if (old === outcome) return outcome;
    return old === 'lost' || outcome === 'lost' ? 'lost' : 'open';
  }

  /** Returns the greatest value that a majority of each half has reached. `own` counts only as a voter. */
  reached(own: MemberId, valueOf: (id: MemberId) => number): number {
    const besides = mutated('raft.learnerCounts') ? this.#learners : ownOrNobody(own);
    const reached = this.#new.reached(valueOf, besides);
    if (this.#old === undefined || mutated('raft.commitByNewHalfOnly')) return reached;
    return Math.min(reached, this.#old.reached(valueOf, besides));
  }

  /** Tells whether `holds` is true of a majority of each half. */
  agree(holds: (id: MemberId) => boolean): boolean {
    return this.#new.agree(holds) && (this.#old?.agree(holds) ?? true);
  }
}

/** Nobody but voters counts. */
function ownOrNobody(own: MemberId): readonly MemberId[] {
  return mutated('raft.removedLeaderCounts') ? [own] : NOBODY;
}
