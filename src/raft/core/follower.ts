/** What a follower does with its leader's messages (paper, figure 2, AppendEntries). */
import {
  TidemarkError,
  assert,
  logIndex,
  mutated,
  term as makeTerm,
  type LogIndex,
  type MemberId,
} from '../../base/index.ts';
import type { Entry } from '../entry.ts';
import type { Append, Heartbeat, SnapshotChunk } from './messages.ts';
import type { LogStart } from './configurations.ts';
import {
  becomeFollower,
  commitTo,
  needsState,
  resetElectionTimer,
  sendAfterDurable,
  sendNow,
  type CoreState,
} from './state.ts';

/** A message of the current term's leader: whoever campaigned gives up, and the lease begins anew. */
function followLeader(s: CoreState, from: MemberId): void {
  assert(s.role !== 'leader', () => `member ${from} leads the term of this leader`);
  assert(s.leaderId === undefined || s.leaderId === from, () => `term ${s.term} has two leaders`);
  if (s.role !== 'follower' || s.leaderId !== from) becomeFollower(s, s.term, from);
  s.leaderSilence = 0;
  s.leaderContacts++;
  resetElectionTimer(s);
}

export function onAppend(s: CoreState, from: MemberId, message: Append): void {
  followLeader(s, from);
  // An answer would say that it goes on here.
  if (s.lacksState && !mutated('raft.lostStateTakesEntries')) return;
  if (message.prevIndex < s.log.base.index) {
    // What was compacted away was committed here, so the leader's log is equal up to the commit index.
    acknowledge(s, from, s.commit);
    return;
  }
  if (s.log.termAt(message.prevIndex) !== message.prevTerm) {
    refuse(s, from, message);
    return;
  }
  for (const entry of message.entries) accept(s, entry);
  const verified = logIndex(message.prevIndex + message.entries.length);
  // Beyond what this append proved equal, this log may hold entries that were never committed.
  const known = mutated('raft.commitBeyondVerified') ? s.log.lastIndex : verified;
  commitTo(s, Math.min(message.commit, known));
  acknowledge(s, from, mutated('raft.ackWholeLog') ? s.log.lastIndex : verified);
}

function acknowledge(s: CoreState, to: MemberId, index: LogIndex): void {
  sendAfterDurable(s, to, {
    type: 'append-reply',
    term: s.term,
    accepted: true,
    index,
    hintIndex: logIndex(0),
    hintTerm: makeTerm(0),
  });
}

/** A piece of a snapshot. One that holds nothing new is answered with what this node has. */
export function onSnapshotChunk(s: CoreState, from: MemberId, message: SnapshotChunk): void {
  followLeader(s, from);
  if (needsState(s, message.lastIndex)) s.collected.streamed.push({ from, message });
  else acknowledge(s, from, s.commit);
}

/**
 * The state now stands at a snapshot's last entry. A log that holds this entry keeps what follows it; any
 * other log is replaced as a whole (paper, figure 13). Meanwhile the log may have got there by itself.
 */
export function onInstalled(s: CoreState, at: LogStart): void {
  if (needsState(s, at.index)) {
    const found = s.log.termAt(at.index);
    const holds = found === at.term || (found !== undefined && mutated('raft.installKeepsConflict'));
    if (!holds) replaceLog(s, at);
    commitTo(s, at.index);
    s.lacksState = false;
  }
  if (s.leaderId !== undefined && s.role === 'follower') acknowledge(s, s.leaderId, s.commit);
}

function replaceLog(s: CoreState, at: LogStart): void {
  const configuration = mutated('raft.installKeepsConfiguration') ? s.log.configuration : at.configuration;
  s.log.reset({ ...at, configuration });
  s.collected.base = at;
  s.collected.changedFrom = at.index;
}

/** Replaces this log's end only where a term differs: a delayed, shorter append takes nothing away. */
function accept(s: CoreState, entry: Entry): void {
  const term = s.log.termAt(entry.index);
  if (term === entry.term) return;
  if (term !== undefined) {
    assert(entry.index > s.commit, () => `entry ${entry.index} is committed and would be replaced`);
    s.log.truncate(entry.index);
  }
  const first: LogIndex = s.collected.changedFrom ?? entry.index;
  s.collected.changedFrom = logIndex(Math.min(first, entry.index));
  s.log.append(entry);
}

/** Says where the logs can still meet, so that the leader skips whole terms and not single entries. */
function refuse(s: CoreState, from: MemberId, message: Append): void {
  const hintIndex = s.log.lastAtMost(message.prevIndex, message.prevTerm);
  sendAfterDurable(s, from, {
    type: 'append-reply',
    term: s.term,
    accepted: false,
    index: message.prevIndex,
    hintIndex,
    hintTerm: s.log.termAt(hintIndex) ?? makeTerm(0),
  });
}

/** A leader tells a follower to commit only what that follower said is on its disk. */
function lostEntries(acknowledged: LogIndex, lastIndex: LogIndex): TidemarkError {
  const text = `this member acknowledged entry ${acknowledged}, but its log ends at ${lastIndex}`;
  return new TidemarkError('DATA_CORRUPT', text, {
    next: 'Its folder was rolled back or lost synced writes: it must not vote. Replace this member.',
  });
}

/** Answers at once even while the disk is slow, unless the term itself is not on disk yet. */
export function onHeartbeat(s: CoreState, from: MemberId, message: Heartbeat): void {
  followLeader(s, from);
  if (message.commit > s.log.lastIndex) throw lostEntries(message.commit, s.log.lastIndex);
  // Said again with each heartbeat until a snapshot is here.
  if (s.lacksState) sendNow(s, from, { type: 'state-lost', term: s.term, index: s.commit });
  else commitTo(s, message.commit);
  const termDurable = s.durability.hardStateDurable && !s.collected.hardStateChanged;
  const send = termDurable ? sendNow : sendAfterDurable;
  send(s, from, { type: 'heartbeat-reply', term: s.term, round: message.round });
}
