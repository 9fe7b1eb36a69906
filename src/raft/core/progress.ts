/** What the leader knows of one follower, for one term: a new leader begins anew. */
import { logIndex, mutated, type LogIndex } from '../../base/index.ts';

/** What may be under way to one follower before it has answered. */
export interface InflightLimit {
  readonly appends: number;
  readonly bytes: number;
}

interface SentAppend {
  readonly last: LogIndex;
  readonly bytes: number;
}

/**
 * `probe`: where the follower's log meets the leader's is not known; one append is under way at a time.
 *
 * `replicate`: everything up to `match` is equal and durable there, and what is sent is taken as received:
 * `next` runs ahead of `match` by what is under way, within the limit. A refusal, or a follower that answers
 * heartbeats but nothing else, ends this: what was sent is in doubt then (etcd raft, tracker/progress.go).
 *
 * `snapshot`: it needs what the leader's log no longer holds; nothing is appended until it has that.
 *
 * `match` never moves back, and `next` always lies after it.
 */
export class Progress {
  state: 'probe' | 'replicate' | 'snapshot' = 'probe';
  match: LogIndex = logIndex(0);
  next: LogIndex;
  /** Entries for this follower are being read from disk. */
  loading = false;
  /** Ticks since anything of the current term was heard. */
  silentTicks = 0;
  /** Ticks since an append was answered, or since the first of those under way was sent. */
  quietTicks = 0;
  /** The last heartbeat round that the follower answered. */
  round = 0;
  readonly #underWay: SentAppend[] = [];
  #stateAfter: LogIndex | undefined;
  #bytes = 0;

  constructor(next: LogIndex) {
    this.next = next;
  }

  tick(): void {
    this.silentTicks++;
    if (this.#underWay.length > 0) this.quietTicks++;
  }

  get underWay(): number {
    return this.#underWay.length;
  }

  mayAppend(limit: InflightLimit): boolean {
    if (this.state === 'snapshot' || this.loading) return false;
    if (this.state === 'probe' && !mutated('raft.probeSendsMany')) return this.#underWay.length === 0;
    if (mutated('raft.inflightUnbounded')) return true;
    return this.#underWay.length < limit.appends && this.#bytes < limit.bytes;
  }

  sent(last: LogIndex, bytes: number): void {
    if (this.#underWay.length === 0) this.quietTicks = 0;
    this.#underWay.push({ last, bytes });
    this.#bytes += bytes;
    if (this.state === 'replicate') this.next = logIndex(last + 1);
  }

  /** A doubled or late answer changes nothing: what it says is known. */
  accepted(index: LogIndex): void {
    this.#answered(index);
    if (index < this.match && !mutated('raft.lateAckMovesBack')) {
      // A follower that had lost its state, not its log, may have a snapshot of an earlier entry.
      if (this.state === 'snapshot') this.#probeFrom(this.match);
      return;
    }
    this.match = index;
    if (this.state === 'replicate') {
      this.next = logIndex(Math.max(this.next, index + 1));
      return;
    }
    this.#probeFrom(index);
    this.state = 'replicate';
  }

  /**
   * Goes back to probing, from where the logs may meet. Tells whether the refusal says anything new: one of
   * what is known to be equal, or of an append before the one that probes, is old.
   */
  refused(prevIndex: LogIndex, retryAfter: LogIndex): boolean {
    const old = prevIndex <= this.match && !mutated('raft.lateRefusalCounts');
    if (old || this.state === 'snapshot') return false;
    if (this.state === 'probe' && prevIndex !== this.next - 1) return false;
    const floor = mutated('raft.lateRefusalCounts') ? 0 : this.match;
    this.#probeFrom(Math.max(floor, Math.min(retryAfter, prevIndex - 1)));
    return true;
  }

  /** What is under way to a probed follower is given up for lost. */
  probeAgain(): void {
    this.#probeFrom(this.next - 1);
  }

  /** Nothing is appended until the follower has a snapshot, and says so by an answer. */
  awaitSnapshot(): void {
    this.#probeFrom(this.next - 1);
    this.state = 'snapshot';
  }

  /** The follower has the log and has lost the state: a snapshot helps if it holds more than `index`. */
  lostState(index: LogIndex): void {
    this.awaitSnapshot();
    this.#stateAfter = index;
  }

  /** A snapshot that holds no more than this is of no use to the follower. */
  get snapshotAfter(): LogIndex {
    return this.#stateAfter ?? this.match;
  }

  #probeFrom(index: number): void {
    this.state = 'probe';
    this.#stateAfter = undefined;
    this.next = logIndex(index + 1);
    this.#underWay.length = 0;
    this.#bytes = 0;
    this.quietTicks = 0;
  }

  #answered(index: LogIndex): void {
    let count = 0;
    for (const { last, bytes } of this.#underWay) {
      if (last > index) break;
      this.#bytes -= bytes;
      count++;
    }
    if (count === 0) return;
    this.#underWay.splice(0, count);
    this.quietTicks = 0;
  }
}
