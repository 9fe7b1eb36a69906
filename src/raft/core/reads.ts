/**
 * Linearizable reads (thesis, section 6.4) at a leader, for itself and for its followers: an index that a
 * quorum confirms in a round of heartbeats that began after the question. What followers ask while a round
 * is under way shares the next one. What a follower does is follower-reads.ts.
 */
import { assert, logIndex, mutated, type LogIndex, type MemberId } from '../../base/index.ts';
import type { ReadRequest } from './messages.ts';
import type { Reader } from './read-rounds.ts';
import { sendNow, type CoreState } from './state.ts';

export function sendHeartbeats(s: CoreState): void {
  for (const [to, progress] of s.progress) {
    // Above what the follower is known to hold, its log may still differ from this one.
    const commit = logIndex(Math.min(progress.match, s.commit));
    sendNow(s, to, { type: 'heartbeat', term: s.term, commit, round: s.reads.round });
  }
}

/** After a stall this node's picture is old: it leads again only once a quorum has answered a new round. */
export function onLeaderStalled(s: CoreState): void {
  s.reads.begin();
  s.reads.demandProof();
  sendHeartbeats(s);
  confirmReads(s);
}

/** Starts a read of this node. The round begins after the request, and takes along who waits for one. */
export function beginOwnRead(s: CoreState, id: number): void {
  assert(s.role === 'leader', 'only a leader reads by itself');
  beginRound(s, [...s.reads.takeGathered(), { id, asker: undefined }]);
}

/** A leader that hands over begins nothing new: who asked asks the next leader, or gets a later round. */
export function onReadRequest(s: CoreState, from: MemberId, { start, id }: ReadRequest): void {
  if (s.role !== 'leader') return;
  const reader: Reader = { id, asker: { member: from, start } };
  if (mutated('raft.followerReadWithoutRound')) {
    answer(s, reader, readIndex(s));
  } else if (mutated('raft.readJoinsRoundUnderWay') && s.reads.round > 0) {
    s.reads.wait(reader, readIndex(s));
    confirmReads(s);
  } else {
    s.reads.gather(reader, from);
    beginGathered(s);
  }
}

/** Starts the round that followers wait for, unless one is under way or nothing may begin. */
export function beginGathered(s: CoreState): void {
  if (s.reads.wanted && s.transfer === undefined) beginRound(s, s.reads.takeGathered());
}

export function confirmReads(s: CoreState): void {
  const round = s.log.quorum.reached(s.config.id, (id) => s.progress.get(id)?.round ?? s.reads.round);
  for (const { reader, index } of s.reads.answered(round)) answer(s, reader, index);
  beginGathered(s);
}

function beginRound(s: CoreState, readers: readonly Reader[]): void {
  const index = readIndex(s);
  if (mutated('raft.readIndexWithoutQuorum')) {
    for (const reader of readers) answer(s, reader, index);
    return;
  }
  s.reads.begin();
  for (const reader of readers) s.reads.wait(reader, index);
  s.heartbeatElapsed = 0;
  sendHeartbeats(s);
  confirmReads(s);
}

/**
 * A leader that has not committed an entry of its own term does not know the commit index yet; then its no-op
 * is the index to wait for.
 */
function readIndex(s: CoreState): LogIndex {
  const floor = mutated('raft.readIndexBeforeOwnTermCommit') ? s.commit : s.ownTermIndex;
  return logIndex(Math.max(s.commit, floor));
}

function answer(s: CoreState, { id, asker }: Reader, index: LogIndex): void {
  if (asker === undefined) s.collected.confirmedReads.push({ id, index });
  else sendNow(s, asker.member, { type: 'read-answer', term: s.term, start: asker.start, id, index });
}
