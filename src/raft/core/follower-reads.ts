/**
 * A follower's linearizable reads: it asks its leader for an index (reads.ts). A question is named by this
 * start of the process and a number that grows, so that an answer to an older question, however late, is
 * never taken for one to a newer. The question may be lost: it is said again, under the same name, which does
 * no harm, because any copy of it reached the leader after it was asked.
 */
import { assert, must, mutated, type MemberId, type Term } from '../../base/index.ts';
import type { ReadAnswer } from './messages.ts';
import { sendNow, type CoreState } from './state.ts';

/** The one question that is under way. */
export interface AskedRead {
  readonly id: number;
  readonly leader: MemberId;
  readonly term: Term;
  /** Ticks since it was asked. */
  ticks: number;
}

/** Asks the leader; a question that is under way is given up for this one. */
export function askLeader(s: CoreState, id: number): void {
  const leader = must(s.leaderId, 'a leader to ask');
  assert(leader !== s.config.id, 'a leader asks nobody');
  s.asked = { id, leader, term: s.term, ticks: 0 };
  send(s, s.asked);
}

export function ageAsked(s: CoreState): void {
  if (s.asked === undefined) return;
  s.asked.ticks++;
  if (s.asked.ticks % s.config.heartbeatTicks === 0) send(s, s.asked);
}

export function onReadAnswer(s: CoreState, from: MemberId, { start, id, index }: ReadAnswer): void {
  const { asked } = s;
  if (asked?.leader !== from || asked.id !== id) return;
  if (start !== s.config.seed && !mutated('raft.readAnswerOfOtherStart')) return;
  s.asked = undefined;
  s.collected.confirmedReads.push({ id, index });
}

/** To be called after every input: with its leader or term a question is lost. */
export function settleAsked(s: CoreState): void {
  const { asked } = s;
  if (asked === undefined || mutated('raft.readOutlivesLeader')) return;
  if (asked.term === s.term && asked.leader === s.leaderId) return;
  s.asked = undefined;
  s.collected.lostReads.push(asked.id);
}

function send(s: CoreState, { leader, id }: AskedRead): void {
  sendNow(s, leader, { type: 'read-request', term: s.term, start: s.config.seed, id });
}
