/**
 * Handing the lead over (thesis, section 3.10): the leader takes nothing new, waits until one follower's disk
 * has its whole log, and tells it to campaign at once. If no other leads within an election timeout, this one
 * goes on, after it has proven itself anew.
 */
import { mutated, type MemberId } from '../../base/index.ts';
import type { Progress } from './progress.ts';
import { sendNow, type CoreState } from './state.ts';

export interface Transfer {
  readonly to: MemberId;
  /** Ticks since it began. */
  ticks: number;
}

/** Begins a transfer to `to`, or to whoever is nearest; none begins if there is nobody who could lead. */
export function beginTransfer(s: CoreState, to: MemberId | undefined): void {
  if (s.transfer !== undefined) return;
  const target = to ?? nearest(s);
  if (target === undefined || !canLead(s, target)) return;
  s.transfer = { to: target, ticks: 0 };
  pursueTransfer(s, target);
}

/** Tells the target to campaign once it has everything. Said again at every sign of it: it may be lost. */
export function pursueTransfer(s: CoreState, heardFrom: MemberId): void {
  if (s.transfer?.to !== heardFrom) return;
  const match = s.progress.get(heardFrom)?.match ?? 0;
  if (match < s.log.lastIndex && !mutated('raft.transferWithoutCatchUp')) return;
  sendNow(s, heardFrom, { type: 'timeout-now', term: s.term });
}

/** Tells whether a transfer has just been given up: what happened meanwhile is not known. */
export function ageTransfer(s: CoreState): boolean {
  if (s.transfer === undefined) return false;
  s.transfer.ticks++;
  if (s.transfer.ticks < s.config.electionTicks) return false;
  s.transfer = undefined;
  return true;
}

/** Returns the voter that answers and has most of the log. */
export function nearest(s: CoreState): MemberId | undefined {
  let best: MemberId | undefined;
  for (const [id, { match }] of s.progress) {
    if (!canLead(s, id)) continue;
    if (best === undefined || match > (s.progress.get(best)?.match ?? 0)) best = id;
  }
  return best;
}

function canLead(s: CoreState, id: MemberId): boolean {
  const progress: Progress | undefined = s.progress.get(id);
  if (progress === undefined || progress.state === 'snapshot') return false;
  return s.log.quorum.staysVoter(id) && progress.silentTicks < s.config.electionTicks;
}
