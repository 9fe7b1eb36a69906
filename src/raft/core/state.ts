/** The core's whole state, and what every part of it does with it: change the term, and collect effects. */
import {
  TERM_MAX,
  assert,
  logIndex,
  term as makeTerm,
  type LogIndex,
  type MemberId,
  type Term,
} from '../../base/index.ts';
import type { NewConfiguration } from '../configuration.ts';
import { makeConfigurationEntry, makeEntry, type Entry, type EntryPlace } from '../entry.ts';
import type { Role } from '../types.ts';
import type { LogStart } from './configurations.ts';
import { Durability } from './durability.ts';
import type { AskedRead } from './follower-reads.ts';
import type { ConfirmedRead, HardState, LoadRequest, SnapshotRequest, StreamedMessage } from './io.ts';
import type { LogView, SliceLimit } from './log-view.ts';
import type { Append, DurableMessage, Envelope, ImmediateMessage } from './messages.ts';
import type { InflightLimit, Progress } from './progress.ts';
import type { Transfer } from './transfer.ts';
import { RandomSequence } from './random.ts';
import { ReadRounds } from './read-rounds.ts';

export interface CoreConfig {
  readonly id: MemberId;
  /**
   * Ticks without a leader after which a voter may begin an election; the real timeout is drawn from [n, 2n).
   */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** What one append carries at most. */
  readonly appendLimit: SliceLimit;
  /** What may be under way to one follower. */
  readonly inflightLimit: InflightLimit;
  /** How much of the log's end stays in memory. */
  readonly tailBytes: number;
  /** Differs from node to node and from start to start. */
  readonly seed: number;
}

export interface CoreStart {
  readonly hardState: HardState;
  readonly log: LogView;
  /** What the state machine has applied is known to be committed. 0 for a state that was lost. */
  readonly appliedIndex: LogIndex;
}

/** Effects of one step, while it runs. */
export interface Collected {
  readonly sendNow: Envelope<ImmediateMessage>[];
  readonly sendAfterDurable: Envelope<DurableMessage>[];
  readonly loads: LoadRequest[];
  readonly snapshots: SnapshotRequest[];
  readonly streamed: StreamedMessage[];
  readonly confirmedReads: ConfirmedRead[];
  readonly lostReads: number[];
  /** The last append that this step sends. */
  append: Append | undefined;
  /** The first log index that this step changed. */
  changedFrom: LogIndex | undefined;
  /** The log was replaced by what a snapshot holds. */
  base: LogStart | undefined;
  hardStateChanged: boolean;
}

export interface CoreState {
  readonly config: CoreConfig;
  readonly log: LogView;
  readonly durability: Durability;
  readonly random: RandomSequence;
  readonly reads: ReadRounds;
  /** What this follower waits for its leader to answer. */
  asked: AskedRead | undefined;
  term: Term;
  vote: MemberId | undefined;
  role: Role;
  leaderId: MemberId | undefined;
  commit: LogIndex;
  /**
   * The state was lost, and with it what the log no longer holds. This member follows, votes, and waits for a
   * snapshot; it takes no entries, commits nothing and does not campaign.
   */
  lacksState: boolean;
  /** Ticks since the election timer was last reset, and when it is due. */
  electionElapsed: number;
  electionTimeout: number;
  /** Ticks since the current leader was last heard. */
  leaderSilence: number;
  /** Counts messages of a current leader, for whoever measures when the last one came. */
  leaderContacts: number;
  heartbeatElapsed: number;
  readonly votes: Map<MemberId, boolean>;
  readonly progress: Map<MemberId, Progress>;
  /** The leader's no-op: the first entry of its own term. */
  ownTermIndex: LogIndex;
  /** Up to this configuration, everything that follows from its commitment was done in this office. */
  settled: LogIndex;
  /** Another member said that this one was removed. */
  removed: boolean;
  /** The lead is being handed over: nothing new is begun. */
  transfer: Transfer | undefined;
  collected: Collected;
}

export function newCollected(): Collected {
  return {
    sendNow: [],
    sendAfterDurable: [],
    loads: [],
    snapshots: [],
    streamed: [],
    confirmedReads: [],
    append: undefined,
    lostReads: [],
    changedFrom: undefined,
    base: undefined,
    hardStateChanged: false,
  };
}

export function newState(config: CoreConfig, start: CoreStart): CoreState {
  assert(start.appliedIndex <= start.log.lastIndex, 'what was applied is in the log');
  const lacksState = start.appliedIndex < start.log.base.index;
  assert(!lacksState || start.appliedIndex === 0, 'what was compacted away is applied, or all of it is lost');
  const state: CoreState = {
    config,
    log: start.log,
    durability: new Durability(start.log.lastIndex),
    random: new RandomSequence(config.seed),
    reads: new ReadRounds(),
    asked: undefined,
    term: start.hardState.term,
    vote: start.hardState.vote,
    role: 'follower',
    leaderId: undefined,
    // What was compacted away was committed.
    commit: lacksState ? start.log.base.index : start.appliedIndex,
    lacksState,
    electionElapsed: 0,
    electionTimeout: 0,
    leaderSilence: 0,
    leaderContacts: 0,
    heartbeatElapsed: 0,
    votes: new Map(),
    progress: new Map(),
    ownTermIndex: logIndex(0),
    settled: logIndex(0),
    removed: false,
    transfer: undefined,
    collected: newCollected(),
  };
  resetElectionTimer(state);
  return state;
}

/** Draws a new timeout at every reset. A single voter has nobody to wait for. */
export function resetElectionTimer(s: CoreState): void {
  const { id, electionTicks } = s.config;
  const { voters } = s.log.quorum;
  const alone = voters.length === 1 && voters[0] === id;
  s.electionElapsed = 0;
  s.electionTimeout = alone ? 1 : electionTicks + s.random.next(electionTicks);
}

/** Enters a later term, in which this node has not voted. */
export function enterTerm(s: CoreState, term: number, vote: MemberId | undefined): void {
  assert(term > s.term && term <= TERM_MAX, () => `term ${term} does not follow ${s.term}`);
  s.term = makeTerm(term);
  castVote(s, vote);
}

export function castVote(s: CoreState, vote: MemberId | undefined): void {
  s.vote = vote;
  s.collected.hardStateChanged = true;
}

/**
 * Steps down, or learns of a term or a leader. The election timer is left alone: only its owners reset it.
 */
export function becomeFollower(s: CoreState, term: Term, leaderId: MemberId | undefined): void {
  if (term > s.term) enterTerm(s, term, undefined);
  s.role = 'follower';
  s.leaderId = leaderId;
  s.votes.clear();
  s.progress.clear();
  s.transfer = undefined;
  s.reads.drop();
}

/** Appends an entry of this node's term. */
export function appendOwn(s: CoreState, data: Uint8Array): void {
  append(s, makeEntry(nextPlace(s), data));
}

/** Appends a configuration in this node's term. */
export function appendConfiguration(s: CoreState, members: NewConfiguration): void {
  append(s, makeConfigurationEntry(nextPlace(s), members));
}

function nextPlace(s: CoreState): EntryPlace {
  return { index: logIndex(s.log.lastIndex + 1), term: s.term, prevTerm: s.log.lastTerm };
}

/** The first index that a step changes is where its write begins. */
function append(s: CoreState, entry: Entry): void {
  s.collected.changedFrom ??= entry.index;
  s.log.append(entry);
}

export function commitTo(s: CoreState, index: number): void {
  if (index <= s.commit) return;
  assert(index <= s.log.lastIndex, () => `entry ${index} is committed but not in this node's log`);
  s.commit = logIndex(index);
}

/** Tells whether a state as of an entry is one that this member does not have yet. */
export function needsState(s: CoreState, index: LogIndex): boolean {
  return s.lacksState ? index >= s.commit : index > s.commit;
}

/** Whether a leader was heard so lately that a vote for another would only disturb (thesis, section 6.2). */
export function inLease(s: CoreState): boolean {
  if (s.role === 'leader') return true;
  return s.leaderId !== undefined && s.leaderSilence < s.config.electionTicks;
}

/** Everybody else, learners included. */
export function peers(s: CoreState): readonly MemberId[] {
  return s.log.configuration.members.map(({ id }) => id).filter((id) => id !== s.config.id);
}

/** Whoever's vote counts beside this node's own. */
export function otherVoters(s: CoreState): readonly MemberId[] {
  return s.log.quorum.voters.filter((id) => id !== s.config.id);
}

export function sendNow(s: CoreState, to: MemberId, message: ImmediateMessage): void {
  s.collected.sendNow.push({ to, message });
}

export function sendAfterDurable(s: CoreState, to: MemberId, message: DurableMessage): void {
  s.collected.sendAfterDurable.push({ to, message });
}
