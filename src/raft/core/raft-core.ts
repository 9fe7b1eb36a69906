/**
 * Consensus as one synchronous function of its inputs: no clock, socket, disk, chance or promise. The same
 * class runs in production and in the simulator.
 *
 * The caller's contract:
 *  1. Inputs are given one at a time, never from within a step.
 *  2. Writes (`persist`) reach the disk in the order of their sequence, each as a whole; several may be one
 *     write. `persisted` is given when they are durable, and never before.
 *  3. `sendNow` may leave at once. `sendAfterDurable` leaves only when every write asked for so far is
 *     durable, the one of the same step included.
 *  4. A write that fails ends the process: nothing is sent, nothing is tried again.
 *  5. Messages may be lost, late, doubled and out of order, but not altered, and `from` is who sent them.
 *  6. A tick that comes late is one tick. Before it is given, what has already arrived is given.
 *  7. After a stall `stalled` is given before the next tick.
 *  8. `propose`, `reconfigure` and `transfer` are given only while `role` is 'leader', `read` then or while
 *     there is a `leaderId`; `propose` and `read` not while there is a `transferee`. The caller bounds them.
 *  9. Each load request is answered once by `loaded`, with entries as they are on disk, maybe none.
 * 10. Entries up to `applicableIndex` are applied in order, each once; they never change.
 * 11. `compact` is given with an index that the state machine has durably applied. `installed` is given when
 *     the state machine's own durable state is the snapshot's, while nothing else is applied.
 * 12. A throw is a broken invariant or a log that lost what it held: the process ends.
 */
import {
  assert,
  assertNever,
  logIndex,
  must,
  mutated,
  type LogIndex,
  type MemberId,
  type Term,
} from '../../base/index.ts';
import type { Entry } from '../entry.ts';
import type { NewConfiguration } from '../configuration.ts';
import type { Configuration, MembershipChange, Role } from '../types.ts';
import {
  beginPreVote,
  mayCampaign,
  onHardStateDurable,
  onPeerGone,
  onPreVote,
  onPreVoteReply,
  onTimeoutNow,
  onVote,
  onVoteReply,
} from './election.ts';
import { onAppend, onHeartbeat, onInstalled, onSnapshotChunk } from './follower.ts';
import type { Effects, Input, Persist } from './io.ts';
import { onHeartbeatReply, onLeaderTick, propose } from './leader.ts';
import { ageAsked, askLeader, onReadAnswer, settleAsked } from './follower-reads.ts';
import type { SliceLimit } from './log-view.ts';
import { isRemoved, planChange, reconfigure, settleMembership } from './membership.ts';
import type { Message, Removed } from './messages.ts';
import type { Progress } from './progress.ts';
import { beginOwnRead, onLeaderStalled, onReadRequest } from './reads.ts';
import { advanceCommit, onAppendReply, onLoaded, onSnapshotReply, onStateLost } from './replication.ts';
import {
  becomeFollower,
  inLease,
  needsState,
  newCollected,
  newState,
  sendAfterDurable,
  sendNow,
  type CoreConfig,
  type CoreStart,
  type CoreState,
} from './state.ts';

import type { LogStart } from './configurations.ts';
import { beginTransfer } from './transfer.ts';

/** What only a leader sends. */
const LEADERS = new Set<Message['type']>(['append', 'heartbeat', 'snapshot-chunk', 'timeout-now']);

export interface FollowerView extends Pick<Progress, 'state' | 'match' | 'snapshotAfter' | 'silentTicks'> {
  readonly id: MemberId;
}

/** A message whose term decides how it is taken. */
type TermMessage = Exclude<Message, Removed>;

const WHOLE: SliceLimit = { entries: Infinity, bytes: Infinity };

export class RaftCore {
  readonly #s: CoreState;

  constructor(config: CoreConfig, start: CoreStart) {
    this.#s = newState(config, start);
  }

  get term(): Term {
    return this.#s.term;
  }

  get vote(): MemberId | undefined {
    return this.#s.vote;
  }

  get role(): Role {
    return this.#s.role;
  }

  get leaderId(): MemberId | undefined {
    return this.#s.leaderId;
  }

  get commitIndex(): LogIndex {
    return this.#s.commit;
  }

  /** The state was lost: this member waits for a snapshot. */
  get lacksState(): boolean {
    return this.#s.lacksState;
  }

  /** Tells whether a snapshot as of an entry would bring this member further. */
  needsState(index: LogIndex): boolean {
    return needsState(this.#s, index);
  }

  /** Entries up to here were compacted away. */
  get baseIndex(): LogIndex {
    return this.#s.log.base.index;
  }

  /** What a leader knows of the other members; nothing on others. */
  get followers(): readonly FollowerView[] {
    const { progress } = this.#s;
    return [...progress].map(([id, { state, match, snapshotAfter, silentTicks }]) => {
      return { id, state, match, snapshotAfter, silentTicks };
    });
  }

  get lastIndex(): LogIndex {
    return this.#s.log.lastIndex;
  }

  /**
   * Up to here entries may be applied: committed, and on this node's own disk. A state machine must never be
   * ahead of the log beside it, or a crash would leave it with entries that its log does not have.
   */
  get applicableIndex(): LogIndex {
    return applicable(this.#s);
  }

  /** The leader's no-op, 0 on others: before it is applied a leader serves nothing. */
  get ownTermIndex(): LogIndex {
    return this.#s.role === 'leader' ? this.#s.ownTermIndex : logIndex(0);
  }

  /**
   * True on a leader that has committed an entry of its own term, has proven itself since its last stall and
   * is not about to hand over.
   */
  get established(): boolean {
    const s = this.#s;
    const leads = s.role === 'leader' && s.transfer === undefined;
    return leads && s.commit >= s.ownTermIndex && s.reads.proven;
  }

  /** Whom the lead is being handed to: nothing new is begun meanwhile. */
  get transferee(): MemberId | undefined {
    return this.#s.transfer?.to;
  }

  /** In force here, committed or not. */
  get configuration(): Configuration {
    return this.#s.log.configuration;
  }

  /** Returns what is or was in force at an entry that is not before the log's base. */
  configurationAt(index: LogIndex): Configuration {
    return this.#s.log.configurationAt(index);
  }

  /** The members know that this is none of them any more. */
  get removed(): boolean {
    const s = this.#s;
    return s.removed || isRemoved(s, s.config.id);
  }

  /**
   * Returns what a change leads to, to be given as `reconfigure` in the same turn; undefined if there is
   * nothing to change. Only while this node is the leader.
   *
   * @throws TidemarkError if the change must not be begun (the codes of `RaftNode.changeMembership`).
   */
  planChange(change: MembershipChange): NewConfiguration | undefined {
    return planChange(this.#s, change);
  }

  /** Grows with every message of a current leader. */
  get leaderContacts(): number {
    return this.#s.leaderContacts;
  }

  termAt(index: LogIndex): Term | undefined {
    return this.#s.log.termAt(index);
  }

  /** Returns entries from `first` on, or undefined if they have left memory (then they are on disk). */
  entries(first: LogIndex, limit: SliceLimit): readonly Entry[] | undefined {
    return this.#s.log.slice(first, limit);
  }

  step(input: Input): Effects {
    const s = this.#s;
    s.collected = newCollected();
    switch (input.type) {
      case 'tick':
        onTick(s);
        break;
      case 'stalled':
        if (s.role === 'leader') onLeaderStalled(s);
        break;
      case 'step-down':
        if (s.role === 'leader') becomeFollower(s, s.term, undefined);
        break;
      case 'transfer':
        assert(s.role === 'leader', 'only a leader hands over the lead');
        beginTransfer(s, input.to);
        break;
      case 'peer-gone':
        onPeerGone(s, input.id);
        break;
      case 'message':
        onMessage(s, input.from, input.message);
        break;
      case 'propose':
        propose(s, input.data);
        break;
      case 'reconfigure':
        reconfigure(s, input.members);
        break;
      case 'removed':
        onRemoved(s);
        break;
      case 'read':
        if (s.role === 'leader') beginOwnRead(s, input.id);
        else askLeader(s, input.id);
        break;
      case 'compact':
        if (input.index > s.log.base.index) s.log.compact(input.index);
        break;
      case 'installed':
        onInstalled(s, input.at);
        break;
      case 'persisted':
        onPersisted(s, input.sequence);
        break;
      case 'loaded':
        onLoaded(s, input.request, input.entries);
        break;
      default:
        assertNever(input, 'input of the core');
    }
    if (s.role === 'leader') settleMembership(s);
    settleAsked(s);
    const { sendNow: now, sendAfterDurable: later, ...rest } = s.collected;
    const { loads, snapshots, streamed, confirmedReads, lostReads } = rest;
    const reads = { confirmedReads, lostReads };
    return {
      sendNow: now,
      sendAfterDurable: later,
      persist: persistOf(s),
      loads,
      snapshots,
      streamed,
      ...reads,
    };
  }
}

function onTick(s: CoreState): void {
  if (s.role === 'leader') {
    onLeaderTick(s);
    return;
  }
  ageAsked(s);
  s.leaderSilence++;
  s.electionElapsed++;
  if (s.electionElapsed >= s.electionTimeout && mayCampaign(s)) beginPreVote(s);
}

function onPersisted(s: CoreState, sequence: number): void {
  s.durability.complete(sequence, s.log.lastIndex);
  if (s.durability.hardStateDurable) onHardStateDurable(s);
  if (s.role === 'leader') advanceCommit(s);
  s.log.trim(applicable(s), s.config.tailBytes);
}

function applicable(s: CoreState): LogIndex {
  if (s.lacksState) return logIndex(0);
  const commit = s.role === 'leader' && mutated('raft.replyBeforeCommit') ? s.log.lastIndex : s.commit;
  return logIndex(Math.min(s.durability.durableIndex, commit));
}

function onMessage(s: CoreState, from: MemberId, message: Message): void {
  if (from === s.config.id) return;
  if (isRemoved(s, from) && !mutated('raft.removedRaisesTerm')) {
    answerRemoved(s, from, message);
    return;
  }
  // True for ever, whoever says it and in whichever term: ids are never given again.
  if (message.type === 'removed') {
    if (message.term >= s.term || !mutated('raft.removedByOlderTermUnheard')) onRemoved(s);
    return;
  }
  if (message.term > s.term && !enterLaterTerm(s, from, message)) return;
  if (message.term < s.term && !mutated('raft.olderTermAccepted')) answerOlderTerm(s, from, message);
  else dispatch(s, from, message);
}

/**
 * Tells whether the message is to be handled. Neither kind of pre-vote message brings a new term in itself.
 */
function enterLaterTerm(s: CoreState, from: MemberId, message: TermMessage): boolean {
  if (message.type === 'pre-vote') return true;
  if (message.type === 'pre-vote-reply' && message.granted) return true;
  if (message.type === 'vote' && inLease(s) && !message.transfer) return false;
  const leads = LEADERS.has(message.type);
  becomeFollower(s, message.term, leads ? from : undefined);
  return true;
}

/** Whoever was removed never raises this node's term; it is told, and then asks no more. */
function answerRemoved(s: CoreState, from: MemberId, { type }: Message): void {
  const asks = type === 'pre-vote' || type === 'vote' || LEADERS.has(type);
  if (asks) sendNow(s, from, { type: 'removed', term: s.term });
}

function onRemoved(s: CoreState): void {
  s.removed = true;
  becomeFollower(s, s.term, undefined);
}

/** Lets a deposed leader or a late candidate learn of the term; answers of an older term are dropped. */
function answerOlderTerm(s: CoreState, from: MemberId, message: TermMessage): void {
  switch (message.type) {
    case 'append':
    case 'heartbeat':
    case 'snapshot-chunk':
      sendAfterDurable(s, from, { type: 'heartbeat-reply', term: s.term, round: 0 });
      return;
    case 'vote':
      sendAfterDurable(s, from, { type: 'vote-reply', term: s.term, granted: false });
      return;
    case 'pre-vote':
      sendNow(s, from, { type: 'pre-vote-reply', term: s.term, granted: false });
      return;
    case 'append-reply':
    case 'heartbeat-reply':
    case 'pre-vote-reply':
    case 'vote-reply':
    case 'timeout-now':
    case 'snapshot-reply':
    case 'state-lost':
    case 'read-request':
    case 'read-answer':
      return;
    default:
      assertNever(message, 'message of an older term');
  }
}

function dispatch(s: CoreState, from: MemberId, message: TermMessage): void {
  switch (message.type) {
    case 'pre-vote':
      onPreVote(s, from, message);
      return;
    case 'pre-vote-reply':
      onPreVoteReply(s, from, message);
      return;
    case 'vote':
      onVote(s, from, message);
      return;
    case 'vote-reply':
      onVoteReply(s, from, message);
      return;
    case 'append':
      onAppend(s, from, message);
      return;
    case 'append-reply':
      onAppendReply(s, from, message);
      return;
    case 'heartbeat':
      onHeartbeat(s, from, message);
      return;
    case 'heartbeat-reply':
      onHeartbeatReply(s, from, message);
      return;
    case 'timeout-now':
      onTimeoutNow(s, from);
      return;
    case 'snapshot-chunk':
      onSnapshotChunk(s, from, message);
      return;
    case 'snapshot-reply':
      onSnapshotReply(s, from, message);
      return;
    case 'state-lost':
      onStateLost(s, from, message);
      return;
    case 'read-request':
      onReadRequest(s, from, message);
      return;
    case 'read-answer':
      onReadAnswer(s, from, message);
      return;
    default:
      assertNever(message, 'message');
  }
}

function persistOf(s: CoreState): Persist | undefined {
  const { changedFrom, hardStateChanged, base } = s.collected;
  if (changedFrom === undefined && !hardStateChanged) return undefined;
  const sequence = s.durability.issue(changedFrom, hardStateChanged);
  const vote = mutated('raft.voteNotPersisted') ? undefined : s.vote;
  return {
    sequence,
    hardState: hardStateChanged ? { term: s.term, vote } : undefined,
    log: changedFrom === undefined ? undefined : logOf(s, changedFrom, base),
  };
}

function logOf(s: CoreState, changedFrom: LogIndex, base: LogStart | undefined): Persist['log'] {
  const from = base === undefined ? changedFrom : logIndex(base.index + 1);
  return { from, entries: written(s, from), base };
}

function written(s: CoreState, from: LogIndex): readonly Entry[] {
  return must(s.log.slice(from, WHOLE), 'entries that are not on disk are in memory');
}
