/** What the rest of Tidemark sees of consensus: a replicated log of opaque bytes with linearizable reads. */
import type { Clock, ClusterId, LogIndex, MemberId, Term } from '../base/index.ts';

export interface Member {
  readonly id: MemberId;
  /** Where other coordinators dial, as advertised. */
  readonly peerAddress: string;
  /** Where executors and clients dial, as advertised. Consensus only carries it. */
  readonly clientAddress: string;
}

/** A voter's vote and acknowledgement count; a learner only gets the log. */
export type MemberRole = 'voter' | 'learner';

export interface ConfiguredMember extends Member {
  readonly role: MemberRole;
}

/**
 * Who belongs to the cluster. A configuration is in force on a node from the moment its entry is in that
 * node's log, committed or not, until that entry is replaced (paper, section 6).
 */
export interface Configuration {
  /** The entry that made it; 0 for the one that a cluster began with. */
  readonly index: LogIndex;
  /** A voter of the old half that the new one does not have is a learner here, and goes with the old half. */
  readonly members: readonly ConfiguredMember[];
  /** The voters of the old half while two majorities must agree (joint consensus), else empty. */
  readonly outgoing: readonly MemberId[];
  /** The id of the next member that is added. It only grows, so that no id is ever given twice. */
  readonly nextMemberId: MemberId;
}

/** What is to change. What it asks for together comes into force together. */
export interface MembershipChange {
  /** The index of the configuration that the caller saw: refused if another is in force. */
  readonly expected?: LogIndex;
  /** Comes as learners. Whoever is a learner with both addresses already stays what it is. */
  readonly add?: readonly Omit<Member, 'id'>[];
  /** Learners that have caught up, to be voters. */
  readonly promote?: readonly MemberId[];
  readonly remove?: readonly MemberId[];
  /** Only says whether it could be begun now. @default false */
  readonly checkOnly?: boolean;
}

/** What a leader knows of another member. */
export interface FollowerStatus {
  readonly id: MemberId;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  /** Up to here its log is known to be this one's, durably. */
  readonly match: LogIndex;
  /** Entries of this log after that. */
  readonly lag: number;
  /** Milliseconds since it was last heard, in ticks. */
  readonly silentMs: number;
  /** Snapshots that it was sent since it had last caught up: more than two are an alarm. */
  readonly snapshots: number;
}

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

export interface RaftStatus {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  readonly role: Role;
  readonly term: Term;
  /** The leader as far as this node knows; undefined while there is none. */
  readonly leaderId: MemberId | undefined;
  /**
   * True only on a leader whose own no-op is committed and applied and which heard a quorum within the
   * election timeout.
   */
  readonly leading: boolean;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly lastIndex: LogIndex;
  /** The configuration in force: maybe not committed yet. */
  readonly configuration: Configuration;
  /** Those of the configuration. */
  readonly members: readonly ConfiguredMember[];
  /** On a leader; empty on others. */
  readonly followers: readonly FollowerStatus[];
  /** The others have committed that this member is none any more: it never votes or leads again. */
  readonly removed: boolean;
  /** Milliseconds since the last message of the leader; 0 on the leader, undefined if there never was one. */
  readonly leaderContactMs: number | undefined;
}

/** An entry that is committed. `data` is empty for entries of consensus itself (no-op, configuration). */
export interface CommittedEntry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly data: Uint8Array;
}

/**
 * What the log is applied to. Calls never overlap. `apply` gets entries in order, each once after
 * {@link appliedIndex}, including entries with empty data (the applied index must follow them), and answers
 * with one reply per entry. A rejection ends the process: the state is not known any more.
 */
export interface ReplicatedStateMachine {
  readonly appliedIndex: number;
  apply(entries: readonly CommittedEntry[]): Promise<readonly Uint8Array[]>;
  /** Calls `listener` once when what was applied and answered could not be written: the process must end. */
  whenFailed?(listener: (error: unknown) => void): void;
  /** Without it the log is kept whole, and bounded. */
  readonly snapshots?: SnapshotCapability;
}

/** The state as of one entry; applying goes on while it is read. */
export interface StateSnapshot {
  readonly index: LogIndex;
  readonly term: Term;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** A complete, checked state beside the one that is in use. */
export interface PreparedState {
  readonly index: LogIndex;
  readonly term: Term;
  /** Takes the place of the state, durably and as a whole. Nothing is applied meanwhile. */
  install(): Promise<void>;
}

export interface SnapshotCapability {
  /**
   * The entry whose snapshot this state is, if nothing was applied after it. A log that does not reach it was
   * left behind by a crash, and begins there.
   */
  readonly installed: { readonly index: LogIndex; readonly term: Term } | undefined;
  /** Makes what is applied durable; resolves with the last index that surely is. */
  flush(): Promise<number>;
  read(): Promise<StateSnapshot>;
  /** @throws TidemarkError `DATA_CORRUPT` for a damaged snapshot: the state is as it was. */
  prepare(chunks: AsyncIterable<Uint8Array>): Promise<PreparedState>;
}

export interface ProposeResult {
  readonly index: LogIndex;
  readonly term: Term;
  readonly reply: Uint8Array;
}

export interface RaftOptions {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /**
   * The members of `cluster init`, all of them voters: the configuration before the first entry. Empty on a
   * member that joins later: it learns from the log who belongs to the cluster.
   */
  readonly initialMembers: readonly Member[];
  /** Folder of the log; one process at a time. */
  readonly folder: string;
  /**
   * True once this member has run before: an empty folder is then refused, since its votes are gone. @default
   * false
   */
  readonly mustExist?: boolean;
  readonly transport: PeerTransport;
  readonly stateMachine: ReplicatedStateMachine;
  readonly clock: Clock;
  readonly log: RaftLogger;
  /** Called after every change of role, term, leader or members, in the turn in which it happened. */
  readonly onStatus: (status: RaftStatus) => void;
  /** Called once if the node cannot go on (storage failed, assertion). The process must end. */
  readonly onFatal: (error: unknown) => void;
}

export interface RaftLogger {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** Of the last 512 synced writes of this member's log; `count` is of all since it started. */
export interface WriteTimes {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface RaftNode {
  status(): RaftStatus;
  /** How long writes to this member's disk take; zeros before the first. */
  writeTimes(): WriteTimes;
  /**
   * Appends `data` and resolves when it is committed and applied on this node.
   *
   * @throws TidemarkError `NOT_LEADER` (nothing was appended), `OVERLOADED` or `LOG_FULL` (nothing was
   * appended), `MESSAGE_TOO_LARGE`, `OUTCOME_UNKNOWN` (leadership was lost before the entry was applied),
   * `STOPPING`.
   */
  propose(data: Uint8Array): Promise<ProposeResult>;
  /**
   * Resolves with an index such that a read of state applied at or after it is linearizable, once this
   * node has applied it. Confirmed by a quorum round of the leader that began after the call; a follower asks
   * its leader for one. It does not say that this node leads.
   *
   * @throws TidemarkError `NOT_LEADER` (no leader is known, or it did not answer in time: ask the one that is
   * named), `OVERLOADED`, `STOPPING`.
   */
  readIndex(): Promise<LogIndex>;
  /**
   * Hands the lead to `to`, or to the voter that is nearest. Meanwhile proposals and reads wait; if it fails,
   * they go on here. Resolves when another leads and has committed an entry of its own.
   *
   * @throws TidemarkError `NOT_LEADER`, `TRANSFER_FAILED` (this node leads on, or gave up the lead and knows
   * of no other leader yet), `STOPPING`.
   */
  transferLeadership(to?: MemberId): Promise<void>;
  /**
   * Changes who belongs to the cluster, one change at a time. More than one voter at once goes through joint
   * consensus. Resolves with the configuration that came of it, once that is committed and applied here; with
   * `checkOnly` with the one that there is.
   *
   * @throws TidemarkError `NOT_LEADER`, `MEMBERSHIP_CHANGE_PENDING`, `MEMBERSHIP_CHANGED` (`expected` is not
   * in force), `MEMBERSHIP_UNSAFE` (no quorum that is heard would be left), `LEARNER_BEHIND`,
   * `MEMBER_UNKNOWN`, `MEMBER_EXISTS` (a voter has the address), `STOPPING`: nothing was changed.
   * `OUTCOME_UNKNOWN`: the lead was lost meanwhile.
   */
  changeMembership(change: MembershipChange): Promise<Configuration>;
  /**
   * Undefined while this node leads or follows a leader. Otherwise resolves when it does, or when it has done
   * neither for 500 ms: whoever is refused then is sent to the right member, instead of from one to another.
   */
  settled(): Promise<void> | undefined;
  /**
   * Orderly stop: a leader hands over first, if it can; then the log is closed after what is in flight is
   * settled. The transport stays open: its maker closes it.
   */
  stop(): Promise<void>;
}

/**
 * Sends frames to peers, best effort: a frame may be lost, never altered. Frames to one peer keep their
 * order.
 */
export interface PeerTransport {
  send(to: MemberId, frame: Uint8Array): void;
  /** Sends a large frame on a connection of its own, so that nothing waits behind it. @default send */
  sendBulk?(to: MemberId, frame: Uint8Array): void;
  /** Set once by the driver. `from` was authenticated by the transport. */
  onFrame(handler: (from: MemberId, frame: Uint8Array) => void): void;
  /**
   * Says whom there is to talk to, this node included; called at the start and after each change, in its
   * turn. Whoever left the cluster stays in the list for some seconds, so that it can be told. A connection
   * with each is kept: an election must not wait for one.
   */
  setMembers?(members: readonly Member[]): void;
  /**
   * Calls back when a peer turned this node away because its committed configuration has no such member any
   * more.
   */
  onRemoved?(handler: () => void): void;
  /**
   * Calls back when a peer's process has surely ended, where the transport can tell. A mistake costs an
   * election.
   */
  onPeerGone?(handler: (id: MemberId) => void): void;
  close(): Promise<void>;
}
