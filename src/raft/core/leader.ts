/**
 * What a leader does beside replicating (replication.ts) and answering reads (reads.ts): it takes the lead,
 * takes proposals, and steps down when no majority answers.
 */
import { assert, logIndex, mutated, type MemberId } from '../../base/index.ts';
import type { HeartbeatReply } from './messages.ts';
import { Progress } from './progress.ts';
import { confirmReads, onLeaderStalled, sendHeartbeats } from './reads.ts';
import { ageTransfer, pursueTransfer } from './transfer.ts';
import { heard, lookForLoss, replicate, replicateToAll } from './replication.ts';
import { appendOwn, becomeFollower, peers, type CoreState } from './state.ts';

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
  s.settled = logIndex(0);
  appendOwn(s, NO_OP);
  s.ownTermIndex = s.log.lastIndex;
  replicateToAll(s);
}

export function onLeaderTick(s: CoreState): void {
  for (const progress of s.progress.values()) progress.tick();
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
  return s.log.quorum.agree((id) => {
    const progress = s.progress.get(id);
    return progress === undefined || progress.silentTicks < s.config.electionTicks;
  });
}

export function propose(s: CoreState, data: readonly Uint8Array[]): void {
  assert(s.role === 'leader', 'only a leader proposes');
  for (const item of data) {
    assert(item.length > 0, 'a proposal is not empty');
    appendOwn(s, item);
  }
  replicateToAll(s);
}

export function onHeartbeatReply(s: CoreState, from: MemberId, message: HeartbeatReply): void {
  const progress = heard(s, from);
  if (progress === undefined) return;
  progress.round = Math.max(progress.round, message.round);
  confirmReads(s);
  lookForLoss(s, from, progress);
  pursueTransfer(s, from);
  replicate(s, from, progress);
}
