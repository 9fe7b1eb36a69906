/**
 * What members say to each other. Two unions say when a message may leave its node: an
 * {@link ImmediateMessage} promises nothing about the disk; a {@link DurableMessage} may leave only after
 * every write that was asked for before it is on disk (paper, figure 2: "updated on stable storage before
 * responding to RPCs").
 */
import type { ErrorCode, LogIndex, MemberId, Term } from '../../base/index.ts';
import type { Entry } from '../entry.ts';
import type { Configuration } from '../types.ts';

/** Asks whether an election could be won in `term`, which nobody has begun yet (thesis, section 9.6). */
export interface PreVote {
  readonly type: 'pre-vote';
  readonly term: Term;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
}

/** Granted: carries the term that was asked for. Refused: carries the voter's own term. */
export interface PreVoteReply {
  readonly type: 'pre-vote-reply';
  readonly term: Term;
  readonly granted: boolean;
}

export interface Vote {
  readonly type: 'vote';
  readonly term: Term;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** The leader itself asked for this election: who hears that leader may vote all the same. */
  readonly transfer: boolean;
}

/** The leader asks its follower, who has all of its log, to campaign at once (thesis, section 3.10). */
export interface TimeoutNow {
  readonly type: 'timeout-now';
  readonly term: Term;
}

export interface VoteReply {
  readonly type: 'vote-reply';
  readonly term: Term;
  readonly granted: boolean;
}

export interface Append {
  readonly type: 'append';
  readonly term: Term;
  readonly prevIndex: LogIndex;
  readonly prevTerm: Term;
  readonly commit: LogIndex;
  readonly entries: readonly Entry[];
}

/**
 * Accepted: `index` is the last entry that this append proved equal and that is durable.
 * Refused: `index` is the append's `prevIndex`, and (`hintIndex`, `hintTerm`) the last entry of the follower
 * that can still be equal to one of the leader's.
 */
export interface AppendReply {
  readonly type: 'append-reply';
  readonly term: Term;
  readonly accepted: boolean;
  readonly index: LogIndex;
  readonly hintIndex: LogIndex;
  readonly hintTerm: Term;
}

/** `commit` is never above what the follower is known to hold. `round` numbers what a reply confirms. */
export interface Heartbeat {
  readonly type: 'heartbeat';
  readonly term: Term;
  readonly commit: LogIndex;
  readonly round: number;
}

export interface HeartbeatReply {
  readonly type: 'heartbeat-reply';
  readonly term: Term;
  readonly round: number;
}

/**
 * A piece of the state as of an index that the leader's log no longer holds. `stream` names the leader's
 * attempt within its term; pieces of another stream never mix with it.
 */
export interface SnapshotChunk {
  readonly type: 'snapshot-chunk';
  readonly term: Term;
  readonly stream: number;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** In force at the last entry. */
  readonly configuration: Configuration;
  /** Where `data` belongs, in bytes from the beginning. */
  readonly offset: number;
  readonly end: boolean;
  readonly data: Uint8Array;
}

/**
 * The sender's committed configuration has the receiver no more: it needs not campaign, and nobody will
 * answer it. (Ids are never given again, so this stays true.)
 */
export interface Removed {
  readonly type: 'removed';
  readonly term: Term;
}

/**
 * `offset`: where the piece belongs that the follower wants next. `refused`: it cannot use this snapshot, and
 * wants no more of it.
 */
export interface SnapshotReply {
  readonly type: 'snapshot-reply';
  readonly term: Term;
  readonly stream: number;
  readonly offset: number;
  readonly refused: ErrorCode | undefined;
}

/**
 * The follower's log is whole, but not the state: it takes nothing until it has a snapshot, of `index` at
 * least, where its log begins.
 */
export interface StateLost {
  readonly type: 'state-lost';
  readonly term: Term;
  readonly index: LogIndex;
}

/**
 * A follower asks for an index that is linearizable to read at. `start` and `id` name the question: no two
 * questions of one member have both in common, not after a restart either.
 */
export interface ReadRequest {
  readonly type: 'read-request';
  readonly term: Term;
  readonly start: number;
  readonly id: number;
}

/** The leader's answer, confirmed by a quorum round that began after it had the question. */
export interface ReadAnswer {
  readonly type: 'read-answer';
  readonly term: Term;
  readonly start: number;
  readonly id: number;
  readonly index: LogIndex;
}

/**
 * A reply to a heartbeat may go at once only while the replier's term is durable; else it waits like a vote.
 */
export type ImmediateMessage =
  | PreVote
  | PreVoteReply
  | Append
  | Heartbeat
  | HeartbeatReply
  | TimeoutNow
  | SnapshotChunk
  | SnapshotReply
  | StateLost
  | ReadRequest
  | ReadAnswer
  | Removed;
export type DurableMessage = Vote | VoteReply | AppendReply | HeartbeatReply;
export type Message = ImmediateMessage | DurableMessage;

export interface Envelope<M extends Message> {
  readonly to: MemberId;
  readonly message: M;
}
