/**
 * What must hold of votes and leaders: one vote a term and one leader a term, on disk before it is said; a
 * leader was elected by a majority of whom its log says; whoever leads, or could be elected as things stand,
 * has every committed entry.
 */
import { must, type MemberId } from '../../../src/base/index.ts';
import type { RaftStatus } from '../../../src/raft/index.ts';
import type { Message } from '../../../src/raft/core/index.ts';
import type { Committed } from './committed.ts';
import type { Counts } from './counts.ts';
import type { LogEnd, LogOracle } from './log-oracle.ts';
import { decide } from './majority.ts';
import type { SimMember } from './member.ts';
import { hardStateOf, holds } from './on-disk.ts';

export interface ElectionOracleParts {
  readonly members: readonly SimMember[];
  readonly logs: LogOracle;
  readonly committed: Committed;
  readonly counts: Counts;
  readonly fail: (text: string) => void;
}

export class ElectionOracle {
  readonly #parts: ElectionOracleParts;
  readonly #leaderOfTerm = new Map<number, MemberId>();
  /** Not looked at yet. */
  readonly #elected: { readonly id: MemberId; readonly term: number }[] = [];
  readonly #votes = new Map<string, MemberId>();
  /** Per link: frames of one turn leave in an order of peers, not of time. */
  readonly #promisedTerm = new Map<string, number>();

  constructor(parts: ElectionOracleParts) {
    this.#parts = parts;
  }

  /** Election safety. */
  status(id: MemberId, { role, term }: RaftStatus): void {
    if (role !== 'leader') return;
    const other = this.#leaderOfTerm.get(term);
    if (other !== undefined && other !== id) this.#parts.fail(`term ${term} has leaders ${other} and ${id}`);
    if (other !== undefined) return;
    this.#leaderOfTerm.set(term, id);
    this.#elected.push({ id, term });
    if (this.#leaderOfTerm.size > 1) this.#parts.counts.add('leader-change');
  }

  /** One vote a term, and no promise from a term before one that was promised in: over crashes, too. */
  wire(from: MemberId, to: MemberId, message: Message): void {
    const { type, term } = message;
    if (type === 'vote') this.#vote(from, term, from);
    if (type === 'vote-reply' && message.granted) this.#vote(from, term, to);
    if (type === 'append-reply' && message.accepted) this.#mustBeDurable(from, message.index);
    if (type !== 'vote' && type !== 'vote-reply' && type !== 'append-reply') return;
    const link = `${from}>${to}`;
    const before = this.#promisedTerm.get(link) ?? 0;
    if (term < before) this.#parts.fail(`member ${from} tells ${to} of term ${term} after ${before}`);
    this.#promisedTerm.set(link, term);
    if ((hardStateOf(this.#member(from))?.term ?? 0) < term) {
      this.#parts.fail(`member ${from} speaks of term ${term} too early`);
    }
  }

  #vote(voter: MemberId, term: number, candidate: MemberId): void {
    const { fail } = this.#parts;
    const key = `${voter}@${term}`;
    const before = this.#votes.get(key);
    if (before !== undefined && before !== candidate) {
      fail(`member ${voter} voted for ${before} and ${candidate} in term ${term}`);
    }
    this.#votes.set(key, candidate);
    const hardState = hardStateOf(this.#member(voter));
    if (hardState?.term === term ? hardState.vote !== candidate : (hardState?.term ?? 0) < term) {
      fail(`member ${voter} votes for ${candidate} in term ${term} before its disk knows`);
    }
  }

  #mustBeDurable(follower: MemberId, index: number): void {
    if (index === 0 || holds(this.#member(follower), index)) return;
    this.#parts.fail(`member ${follower} acknowledges entry ${index} before its disk has it`);
  }

  #member(id: MemberId): SimMember {
    return must(
      this.#parts.members.find((member) => member.id === id),
      `member ${id}`,
    );
  }

  /** To be called after every event; `changed`: logs or commits are not what they were. */
  look(changed: boolean): void {
    for (const { id, term } of this.#elected.splice(0)) this.#lookAtElected(id, term);
    if (!changed) return;
    const ends = new Map<MemberId, LogEnd>();
    for (const { id } of this.#parts.members) {
      const end = this.#parts.logs.endOf(id);
      if (end !== undefined) ends.set(id, end);
    }
    for (const [id, end] of ends) this.#lookAtSuccessor(id, end, ends);
  }

  #lookAtElected(id: MemberId, term: number): void {
    const { logs, committed, members, fail } = this.#parts;
    const end = logs.endOf(id);
    if (end === undefined) return;
    // Who is alone asks nobody: its own vote is on its disk only.
    const own = hardStateOf(this.#member(id));
    const votes = members.filter((voter) => {
      if (voter.id === id) return own?.term === term && own.vote === id;
      return this.#votes.get(`${voter.id}@${term}`) === id;
    });
    const ids = votes.map((voter) => voter.id);
    if (!decide(ids, end.configuration)) fail(`${id} leads term ${term} by the votes of ${ids.join()} only`);
    for (let index = 1; index <= committed.lastIndex; index++) {
      if (logs.termAt(id, index) === committed.at(index)?.term) continue;
      fail(`leader ${id} of term ${term} lacks committed entry ${index}`);
      return;
    }
  }

  /**
   * Leader completeness before it comes to an election: nobody who lacks a committed entry may find a
   * majority of its log's members whose logs end no later. It is what the overlap of all majorities is for.
   */
  #lookAtSuccessor(id: MemberId, end: LogEnd, ends: ReadonlyMap<MemberId, LogEnd>): void {
    const { logs, committed, fail } = this.#parts;
    const { lastIndex } = committed;
    if (logs.termAt(id, lastIndex) === committed.at(lastIndex)?.term) return;
    const voters = [...ends].filter(([, other]) => {
      const knowsMembers = other.configuration.members.length > 0;
      return knowsMembers && (other.term < end.term || (other.term === end.term && other.index <= end.index));
    });
    const ids = voters.map(([voter]) => voter);
    if (!decide(ids, end.configuration)) return;
    fail(`member ${id} lacks committed entry ${lastIndex} and could be elected by ${ids.join()}`);
  }
}
