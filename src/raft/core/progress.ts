/** What the leader knows of one follower. */
import { logIndex, type LogIndex } from '../../base/index.ts';

/**
 * `probe`: where the follower's log meets the leader's is not known yet. `replicate`: everything up to
 * `match` is equal and durable there, and `next` is the entry after it.
 *
 * `snapshot`: it needs what the leader's log no longer holds; nothing is appended until it has that.
 *
 * In the first two there is one append under way at a time; what is proposed meanwhile goes with the next
 * one.
 */
export class Progress {
  state: 'probe' | 'replicate' | 'snapshot' = 'probe';
  match: LogIndex = logIndex(0);
  next: LogIndex;
  /** Ticks since the append under way was sent; undefined: none is. */
  appendTicks: number | undefined;
  /** The last entry of the append under way. */
  appendLast: LogIndex = logIndex(0);
  /** Entries for this follower are being read from disk. */
  loading = false;
  /** Ticks since anything of the current term was heard. */
  silentTicks = 0;
  /** The last heartbeat round that the follower answered. */
  round = 0;

  constructor(next: LogIndex) {
    this.next = next;
  }

  sent(last: LogIndex): void {
    this.appendTicks = 0;
    this.appendLast = last;
  }

  /** A doubled or late answer neither moves `match` back nor ends the wait for the append under way. */
  accepted(index: LogIndex): void {
    if (index >= this.appendLast) this.appendTicks = undefined;
    if (index < this.match) return;
    this.match = index;
    this.next = logIndex(index + 1);
    this.state = 'replicate';
  }

  /** Moves `next` back. Tells whether the refusal answered the append under way: others are old. */
  refused(prevIndex: LogIndex, retryAfter: LogIndex): boolean {
    if (prevIndex !== this.next - 1 || prevIndex <= this.match) return false;
    this.appendTicks = undefined;
    this.state = 'probe';
    this.next = logIndex(Math.max(this.match, Math.min(retryAfter, prevIndex - 1)) + 1);
    return true;
  }
}
