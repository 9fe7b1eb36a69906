/**
 * What a leader does beside replicating (replication.ts): it proves itself by heartbeats, answers reads, and
 * steps down when no majority answers.
 */
import { assert, logIndex, mutated, type MemberId } from '../../base/index.ts';
import type { HeartbeatReply } from './messages.ts';
import { Progress } from './progress.ts';
import { ageTransfer, pursueTransfer } from './transfer.ts';
import { heard, replicate, replicateToAll } from './replication.ts';
import { appendOwn, becomeFollower, peers, sendNow, type CoreState } from './state.ts';

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
