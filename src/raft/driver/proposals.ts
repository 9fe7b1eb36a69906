/**
 * Proposals from the call until they are applied: gathered per turn, appended together, answered in order.
 */
import { LIMITS, TidemarkError, assert, mutated, type LogIndex, type Term } from '../../base/index.ts';
import type { CommittedEntry, ProposeResult } from '../types.ts';

interface Proposal {
  readonly data: Uint8Array;
  readonly resolve: (result: ProposeResult) => void;
  readonly reject: (error: TidemarkError) => void;
  /** Its entry, once it is appended. */
  index: number;
}

export class Proposals {
  #queued: Proposal[] = [];
  /** In log order; `#head` is the first that is not answered. Entries of consensus may lie between them. */
  #appended: Proposal[] = [];
  #head = 0;
  #term = 0;
  #bytes = 0;

  get count(): number {
    return this.#queued.length + this.#appended.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get queued(): number {
    return this.#queued.length;
  }

  /** @throws TidemarkError `OVERLOADED` or `MESSAGE_TOO_LARGE`, as a rejection; nothing was taken then. */
  add(data: Uint8Array): Promise<ProposeResult> {
    if (data.length > LIMITS.raftEntryBytesMax) {
      const text = `a proposal of ${data.length} bytes is above ${LIMITS.raftEntryBytesMax}`;
      return Promise.reject(new TidemarkError('MESSAGE_TOO_LARGE', text));
    }
    const heavy = this.#bytes + data.length > LIMITS.raftUncommittedBytesMax;
    const full = this.count >= LIMITS.raftProposalsQueuedMax;
    if (full || (heavy && !mutated('raft.uncommittedUnbounded'))) {
      return Promise.reject(new TidemarkError('OVERLOADED', `${this.count} proposals wait already`));
    }
    return new Promise((resolve, reject) => {
      this.#queued.push({ data, resolve, reject, index: 0 });
      this.#bytes += data.length;
    });
  }

  /** Hands over what is queued, to be appended from `first` on in `term`. */
  takeQueued(first: LogIndex, term: Term): readonly Uint8Array[] {
    if (this.#head === this.#appended.length) {
      this.#appended = [];
      this.#head = 0;
    }
    assert(first > (this.#appended.at(-1)?.index ?? 0), 'proposals follow each other in the log');
    this.#term = term;
    const taken = this.#queued;
    this.#queued = [];
    taken.forEach((proposal, at) => {
      proposal.index = first + at;
      this.#appended.push(proposal);
    });
    return taken.map((proposal) => proposal.data);
  }

  /** Answers the proposal behind an applied entry, if it was made here and in this term of office. */
  applied(entry: CommittedEntry, reply: Uint8Array): void {
    const proposal = this.#appended[this.#head];
    if (proposal?.index !== entry.index) return;
    assert(entry.term === this.#term, 'a leader does not lose its entries while it leads');
    this.#head++;
    this.#bytes -= proposal.data.length;
    proposal.resolve({ index: entry.index, term: entry.term, reply });
    if (this.#head >= 4_096) {
      this.#appended = this.#appended.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Leadership is lost: what was not appended surely had no effect, the rest may still be committed. */
  failAll(queued: TidemarkError, appended: TidemarkError): void {
    const lost = this.#appended.slice(this.#head);
    const unsent = this.#queued;
    this.#queued = [];
    this.#appended = [];
    this.#head = 0;
    this.#bytes = 0;
    for (const proposal of lost) proposal.reject(appended);
    for (const proposal of unsent) proposal.reject(queued);
  }
}
