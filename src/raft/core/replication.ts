/**
 * How a leader's log gets to its followers, and what of it is committed: by counting, and only entries of the
 * own term (paper, section 5.4.2).
 */
import { assert, logIndex, must, mutated, type LogIndex, type MemberId } from '../../base/index.ts';
import type { Entry } from '../entry.ts';
import type { LoadRequest } from './io.ts';
import type { Append, AppendReply, SnapshotReply, StateLost } from './messages.ts';
import type { Progress } from './progress.ts';
import { pursueTransfer } from './transfer.ts';
import { commitTo, sendNow, type CoreState } from './state.ts';

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

/** Returns what is known of a follower, and notes that it was heard in this term. */
export function heard(s: CoreState, from: MemberId): Progress | undefined {
  const progress = s.progress.get(from);
  if (progress !== undefined) progress.silentTicks = 0;
  return progress;
}

/** The leader's own acknowledgement is its durable index, like any follower's (design, section 3). */
export function advanceCommit(s: CoreState): void {
  const { durableIndex } = s.durability;
  const reached = s.log.quorum.reached(s.config.id, (id) => s.progress.get(id)?.match ?? durableIndex);
  if (reached <= s.commit) return;
  const ownTerm = s.log.termAt(logIndex(reached)) === s.term;
  if (ownTerm || mutated('raft.commitOlderTermByCounting')) commitTo(s, reached);
}

export function replicateToAll(s: CoreState): void {
  for (const [to, progress] of s.progress) replicate(s, to, progress);
}

/** Sends a follower what it lacks, as far as more may be under way to it. */
export function replicate(s: CoreState, to: MemberId, progress: Progress): void {
  while (progress.mayAppend(s.config.inflightLimit)) {
    assert(progress.next > progress.match, 'what is sent next lies after what is known to be equal');
    if (progress.next <= s.log.base.index) {
      progress.awaitSnapshot();
      s.collected.snapshots.push({ to, term: s.term, match: progress.match });
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
}

/**
 * The follower answers heartbeats: if it does not answer appends meanwhile, they or its answers may be lost.
 * While it is probed, the append is sent anew. Else an empty append after all that was sent finds out: a
 * follower that lacks some of it refuses, one whose disk is slow gets nothing twice.
 * Called before {@link replicate}.
 */
export function lookForLoss(s: CoreState, to: MemberId, progress: Progress): void {
  if (progress.underWay === 0 || mutated('raft.lostAppendUnnoticed')) return;
  const forgotten = progress.next <= s.log.base.index;
  if (progress.state === 'probe' || forgotten) {
    if (progress.quietTicks >= s.config.electionTicks / 2) progress.probeAgain();
  } else if (progress.quietTicks >= 2 * s.config.heartbeatTicks) {
    progress.quietTicks = 0;
    pushAppend(s, { to, progress, entries: [] });
  }
}

interface Sending {
  readonly to: MemberId;
  readonly progress: Progress;
  readonly entries: readonly Entry[];
}

function sendAppend(s: CoreState, sending: Sending): void {
  const { progress, entries } = sending;
  let bytes = 0;
  for (const { record } of entries) bytes += record.length;
  const last = logIndex(progress.next - 1 + entries.length);
  pushAppend(s, sending);
  progress.sent(last, bytes);
}

function pushAppend(s: CoreState, { to, progress, entries }: Sending): void {
  const prevIndex: LogIndex = logIndex(progress.next - 1);
  const prevTerm = must(s.log.termAt(prevIndex), 'term of the entry before an append');
  const last = s.collected.append;
  const same = last?.prevIndex === prevIndex && last.entries.length === entries.length;
  // One object for all followers that stand at the same place, so that it is made into bytes once.
  const message: Append =
    same && last.commit === s.commit
      ? last
      : { type: 'append', term: s.term, prevIndex, prevTerm, commit: s.commit, entries };
  s.collected.append = message;
  sendNow(s, to, message);
}

/** Entries read from disk for a follower; of no use if the term or the follower's position has changed. */
export function onLoaded(s: CoreState, request: LoadRequest, entries: readonly Entry[]): void {
  if (s.role !== 'leader' || s.term !== request.term) return;
  const progress = s.progress.get(request.to);
  if (progress === undefined) return;
  progress.loading = false;
  const usable = progress.next === request.first && entries[0]?.index === request.first;
  if (usable && progress.mayAppend(s.config.inflightLimit)) {
    sendAppend(s, { to: request.to, progress, entries });
  }
  replicate(s, request.to, progress);
}

/** The follower gets a snapshot although its log meets this one: it has lost what came of it. */
export function onStateLost(s: CoreState, from: MemberId, message: StateLost): void {
  const progress = s.progress.get(from);
  if (progress === undefined || progress.state === 'snapshot') return;
  progress.lostState(logIndex(message.index - 1));
  s.collected.snapshots.push({ to: from, term: s.term, match: progress.snapshotAfter });
}

export function onSnapshotReply(s: CoreState, from: MemberId, message: SnapshotReply): void {
  if (heard(s, from)?.state === 'snapshot') s.collected.streamed.push({ from, message });
}
