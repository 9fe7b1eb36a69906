/**
 * What a leader does: replicate, commit by counting (own term only: paper, section 5.4.2), prove itself by
 * heartbeats, and step down when no majority answers.
 */
import { assert, logIndex, must, mutated, type LogIndex, type MemberId } from '../../base/index.ts';
import type { Entry } from '../entry.ts';
import type { LoadRequest } from './io.ts';
import type { AppendReply, HeartbeatReply, SnapshotReply } from './messages.ts';
import { Progress } from './progress.ts';
import { ageTransfer, pursueTransfer } from './transfer.ts';
import { appendOwn, becomeFollower, commitTo, peers, sendNow, type CoreState } from './state.ts';

const NO_OP = new Uint8Array(0);

/** Takes the lead: the no-op of the own term is what commits the entries of earlier leaders. */
export function beginLeading(s: CoreState): void {
  assert(s.role === 'candidate', 'only a candidate is elected');
  s.role = 'leader';
  s.leaderId = s.config.id;
  s.votes.clear();
  s.reads.drop();
  s.progress.clear();
  s.heartbeatElapsed = 0;
  const next = logIndex(s.log.lastIndex + 1);
  for (const id of peers(s)) s.progress.set(id, new Progress(next));
  appendOwn(s, NO_OP);
  s.ownTermIndex = s.log.lastIndex;
  replicateToAll(s);
}

export function onLeaderTick(s: CoreState): void {
  for (const progress of s.progress.values()) {
    progress.silentTicks++;
    if (progress.appendTicks !== undefined) progress.appendTicks++;
  }
  if (!hearsQuorum(s) && !mutated('raft.noCheckQuorum')) {
    becomeFollower(s, s.term, undefined);
    return;
  }
  if (ageTransfer(s)) onLeaderStalled(s);
  s.heartbeatElapsed++;
  if (s.heartbeatElapsed < s.config.heartbeatTicks) return;
  s.heartbeatElapsed = 0;
  sendHeartbeats(s);
}

function hearsQuorum(s: CoreState): boolean {
  return s.config.voters.agree((id) => {
    const progress = s.progress.get(id);
    return progress === undefined || progress.silentTicks < s.config.electionTicks;
  });
}

/** After a stall this node's picture is old: it leads again only once a quorum has answered a new round. */
export function onLeaderStalled(s: CoreState): void {
  s.reads.begin();
  s.reads.demandProof();
  sendHeartbeats(s);
  confirmReads(s);
}

function sendHeartbeats(s: CoreState): void {
  for (const [to, progress] of s.progress) {
    // Above what the follower is known to hold, its log may still differ from this one.
    const commit = logIndex(Math.min(progress.match, s.commit));
    sendNow(s, to, { type: 'heartbeat', term: s.term, commit, round: s.reads.round });
  }
}

export function propose(s: CoreState, data: readonly Uint8Array[]): void {
  assert(s.role === 'leader', 'only a leader proposes');
  for (const item of data) {
    assert(item.length > 0, 'a proposal is not empty');
    appendOwn(s, item);
  }
  replicateToAll(s);
}

/**
 * Starts a read (thesis, section 6.4). The round begins after the request. A leader that has not committed an
 * entry of its own term does not know the commit index yet; then its no-op is the index to wait for.
 */
export function beginRead(s: CoreState, id: number): void {
  assert(s.role === 'leader', 'only a leader reads');
  const floor = mutated('raft.readIndexBeforeOwnTermCommit') ? s.commit : s.ownTermIndex;
  const index = logIndex(Math.max(s.commit, floor));
  if (mutated('raft.readIndexWithoutQuorum')) {
    s.collected.confirmedReads.push({ id, index });
    return;
  }
  s.reads.begin();
  s.reads.wait(id, index);
  s.heartbeatElapsed = 0;
  sendHeartbeats(s);
  confirmReads(s);
}

function confirmReads(s: CoreState): void {
  const round = s.config.voters.reached((id) => s.progress.get(id)?.round ?? s.reads.round);
  for (const read of s.reads.answered(round)) s.collected.confirmedReads.push(read);
}

export function onAppendReply(s: CoreState, from: MemberId, message: AppendReply): void {
  const progress = heard(s, from);
  if (progress === undefined) return;
  if (message.accepted) {
    assert(message.index <= s.log.lastIndex, () => `member ${from} acknowledges entry ${message.index}`);
    progress.accepted(message.index);
    advanceCommit(s);
  } else {
    const retryAfter = s.log.lastAtMost(message.hintIndex, message.hintTerm);
    if (!progress.refused(message.index, retryAfter)) return;
  }
  pursueTransfer(s, from);
  replicate(s, from, progress);
}

export function onHeartbeatReply(s: CoreState, from: MemberId, message: HeartbeatReply): void {
  const progress = heard(s, from);
  if (progress === undefined) return;
  progress.round = Math.max(progress.round, message.round);
  confirmReads(s);
  // A follower that answers heartbeats but not the append under way has probably not got it.
  if ((progress.appendTicks ?? 0) >= s.config.electionTicks / 2) progress.appendTicks = undefined;
  pursueTransfer(s, from);
  replicate(s, from, progress);
}

function heard(s: CoreState, from: MemberId): Progress | undefined {
  const progress = s.progress.get(from);
  if (progress !== undefined) progress.silentTicks = 0;
  return progress;
}

/** The leader's own acknowledgement is its durable index, like any follower's (design, section 3). */
export function advanceCommit(s: CoreState): void {
  const reached = s.config.voters.reached((id) => s.progress.get(id)?.match ?? s.durability.durableIndex);
  if (reached <= s.commit) return;
  const ownTerm = s.log.termAt(logIndex(reached)) === s.term;
  if (ownTerm || mutated('raft.commitOlderTermByCounting')) commitTo(s, reached);
}

function replicateToAll(s: CoreState): void {
  for (const [to, progress] of s.progress) replicate(s, to, progress);
}

function replicate(s: CoreState, to: MemberId, progress: Progress): void {
  if (progress.appendTicks !== undefined || progress.loading) return;
  assert(progress.next > progress.match, 'what is sent next lies after what is known to be equal');
  if (progress.next <= s.log.base.index) {
    needSnapshot(s, to, progress);
    return;
  }
  if (progress.next > s.log.lastIndex) return;
  const entries = s.log.slice(progress.next, s.config.appendLimit);
  if (entries === undefined) {
    progress.loading = true;
    s.collected.loads.push({ to, term: s.term, first: progress.next });
    return;
  }
  sendAppend(s, { to, progress, entries });
}

/** Asked for once for each place where the follower stands. */
function needSnapshot(s: CoreState, to: MemberId, progress: Progress): void {
  if (progress.state === 'snapshot') return;
  progress.state = 'snapshot';
  s.collected.snapshots.push({ to, term: s.term, match: progress.match });
}

function sendAppend(
  s: CoreState,
  append: { readonly to: MemberId; readonly progress: Progress; readonly entries: readonly Entry[] },
): void {
  const { to, progress, entries } = append;
  const prevIndex: LogIndex = logIndex(progress.next - 1);
  const prevTerm = must(s.log.termAt(prevIndex), 'term of the entry before an append');
  progress.sent(logIndex(prevIndex + entries.length));
  sendNow(s, to, { type: 'append', term: s.term, prevIndex, prevTerm, commit: s.commit, entries });
}

/** Entries read from disk for a follower; of no use if the term or the follower's position has changed. */
export function onLoaded(s: CoreState, request: LoadRequest, entries: readonly Entry[]): void {
  if (s.role !== 'leader' || s.term !== request.term) return;
  const progress = s.progress.get(request.to);
  if (progress === undefined) return;
  progress.loading = false;
  if (progress.appendTicks !== undefined) return;
  const usable = progress.next === request.first && entries[0]?.index === request.first;
  if (usable) sendAppend(s, { to: request.to, progress, entries });
  else replicate(s, request.to, progress);
}

export function onSnapshotReply(s: CoreState, from: MemberId, message: SnapshotReply): void {
  if (heard(s, from)?.state === 'snapshot') s.collected.streamed.push({ from, message });
}
