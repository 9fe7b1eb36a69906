/** Inputs and effects of the core: plain data in, plain data out. */
import type { LogIndex, MemberId, Term } from '../../base/index.ts';
import type { NewConfiguration } from '../configuration.ts';
import type { Entry } from '../entry.ts';
import type { LogStart } from './configurations.ts';
import type {
  DurableMessage,
  Envelope,
  ImmediateMessage,
  Message,
  SnapshotChunk,
  SnapshotReply,
} from './messages.ts';

/** What must survive a restart besides the log. `vote` belongs to `term`. */
export interface HardState {
  readonly term: Term;
  readonly vote: MemberId | undefined;
}

export type Input =
  /** One tick of the clock has passed. A late tick is one tick, however late. */
  | { readonly type: 'tick' }
  /** The process was stalled for so long that its picture of the cluster may be old. */
  | { readonly type: 'stalled' }
  /** This node should not lead any longer, for instance because its disk hangs. */
  | { readonly type: 'step-down' }
  /** Hands the lead to this voter, or to the one that is nearest; only while this node is the leader. */
  | { readonly type: 'transfer'; readonly to: MemberId | undefined }
  /** The process of this member has ended, as far as its connections tell. */
  | { readonly type: 'peer-gone'; readonly id: MemberId }
  | { readonly type: 'message'; readonly from: MemberId; readonly message: Message }
  /** Appends these entries, in order; only while this node is the leader. */
  | { readonly type: 'propose'; readonly data: readonly Uint8Array[] }
  /** Appends what `planChange` has just answered. */
  | { readonly type: 'reconfigure'; readonly members: NewConfiguration }
  /** A peer's committed configuration has this member no more. */
  | { readonly type: 'removed' }
  /**
   * Starts a read, at the leader that this node is or knows. An id is used once in the life of a core; a
   * follower gives up the read that it asked for before.
   */
  | { readonly type: 'read'; readonly id: number }
  /** Entries up to this one may be forgotten: they are applied, and what they led to is on disk. */
  | { readonly type: 'compact'; readonly index: LogIndex }
  /** The state machine now stands at this entry, by a snapshot, durably. */
  | { readonly type: 'installed'; readonly at: LogStart }
  /** Every {@link Persist} up to this sequence is on disk. */
  | { readonly type: 'persisted'; readonly sequence: number }
  /** Answers a {@link LoadRequest}. */
  | { readonly type: 'loaded'; readonly request: LoadRequest; readonly entries: readonly Entry[] };

/**
 * From `from` on, the log on disk becomes exactly `entries`; the hard state goes with them in one write. With
 * `base`, nothing before `from` stays either.
 */
export interface Persist {
  readonly sequence: number;
  readonly hardState: HardState | undefined;
  /** Undefined: the log does not change. */
  readonly log:
    | { readonly from: LogIndex; readonly entries: readonly Entry[]; readonly base?: LogStart | undefined }
    | undefined;
}

/** A follower needs what this log no longer holds: it is to be sent a snapshot that lies after `match`. */
export interface SnapshotRequest {
  readonly to: MemberId;
  readonly term: Term;
  readonly match: LogIndex;
}

/** Pieces of snapshots and their answers, of the current term, for whoever streams them. */
export interface StreamedMessage {
  readonly from: MemberId;
  readonly message: SnapshotChunk | SnapshotReply;
}

/** Entries that a follower needs and that are no longer in memory. */
export interface LoadRequest {
  readonly to: MemberId;
  readonly term: Term;
  readonly first: LogIndex;
}

export interface ConfirmedRead {
  readonly id: number;
  /** State applied at or after this index answers the read. */
  readonly index: LogIndex;
}

export interface Effects {
  readonly sendNow: readonly Envelope<ImmediateMessage>[];
  readonly sendAfterDurable: readonly Envelope<DurableMessage>[];
  readonly persist: Persist | undefined;
  readonly loads: readonly LoadRequest[];
  readonly snapshots: readonly SnapshotRequest[];
  readonly streamed: readonly StreamedMessage[];
  readonly confirmedReads: readonly ConfirmedRead[];
  /** Ids of reads that the leader will not answer any more: it leads no longer. */
  readonly lostReads: readonly number[];
}
