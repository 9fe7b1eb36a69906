/**
 * Elections: pre-vote (thesis, section 9.6), vote (paper, section 5.2 and 5.4.1), and the refusal of both
 * while a leader is heard (thesis, section 6.2). A vote is on disk before it leaves, the candidate's own
 * included.
 */
import {
  logIndex,
  mutated,
  term as makeTerm,
  type LogIndex,
  type MemberId,
  type Term,
} from '../../base/index.ts';
import { beginLeading } from './leader.ts';
import type { PreVote, PreVoteReply, Vote, VoteReply } from './messages.ts';
import {
  becomeFollower,
  castVote,
  enterTerm,
  inLease,
  otherVoters,
  resetElectionTimer,
  sendAfterDurable,
  sendNow,
  type CoreState,
} from './state.ts';

/** Between two members that both saw their leader end, so that the second finds the first elected. */
const GONE_STAGGER_TICKS = 2;
/**
 * Whoever grants a pre-vote lets the other one go first for so long: two candidates of one term split the
 * vote. It is shorter than any election timeout, so that one who asks again and again in vain holds nobody
 * up.
 */
const YIELD_TICKS = 6;

/**
 * The leader's process has ended: its lease is released, and the next ticks bring the election (design,
 * section 3). If it was a mistake, the leader's next message ends it, or an election is held for nothing.
 */
export function onPeerGone(s: CoreState, id: MemberId): void {
  if (s.role !== 'follower' || s.leaderId !== id) return;
  s.leaderId = undefined;
  const survivors = s.log.quorum.voters.filter((voter) => voter !== id);
  const waitTicks = 1 + GONE_STAGGER_TICKS * survivors.indexOf(s.config.id);
  s.electionElapsed = Math.max(s.electionElapsed, s.electionTimeout - waitTicks);
}

/**
 * Tells whether this node may ask for votes: a voter may, unless it has learnt that it was removed or has
 * lost the state that it would have to serve. (A learner that was promoted without knowing it yet answers
 * votes all the same.) A voter whose removal is not committed yet still may, although its own vote does not
 * count: maybe only its log has what the others need (thesis, section 4.2.2). The same may be said of a log
 * whose state was lost, and then nobody leads until another voter with as much comes back: whoever empties a
 * state makes sure before that the others are a majority that has caught up.
 */
export function mayCampaign(s: CoreState): boolean {
  if (mutated('raft.learnerCampaigns')) return true;
  if (s.lacksState && !mutated('raft.lostStateCampaigns')) return false;
  const { id } = s.config;
  const leaving = !mutated('raft.openRemovalSilences') && s.log.isOrWasVoter(id, s.commit);
  return !s.removed && (s.log.quorum.isVoter(id) || leaving);
}

/**
 * A member that knows of no cluster yet has an empty log: a candidate that takes it for a voter knows of a
 * log that this node lost. And whoever was removed must not help one that does not know it yet.
 */
function mayVote(s: CoreState): boolean {
  if (s.removed && !mutated('raft.removedVotes')) return false;
  return s.log.configuration.members.length > 0 || mutated('raft.strangerVotes');
}

/** The election timer is due: asks whether an election could be won, without touching the term. */
export function beginPreVote(s: CoreState): void {
  if (mutated('raft.noPreVote')) {
    beginElection(s);
    return;
  }
  becomeFollower(s, s.term, undefined);
  s.role = 'pre-candidate';
  resetElectionTimer(s);
  s.votes.set(s.config.id, true);
  const term = makeTerm(s.term + 1);
  for (const to of otherVoters(s)) {
    sendNow(s, to, { type: 'pre-vote', term, lastIndex: s.log.lastIndex, lastTerm: s.log.lastTerm });
  }
  decidePreVote(s);
}

function decidePreVote(s: CoreState): void {
  const outcome = s.log.quorum.outcome(s.votes);
  if (outcome === 'won') beginElection(s);
  else if (outcome === 'lost') becomeFollower(s, s.term, undefined);
}

/** The leader hands over: no pre-vote, since it is asked for by the very one whom a pre-vote protects. */
export function onTimeoutNow(s: CoreState, from: MemberId): void {
  if (s.role === 'follower' && s.leaderId === from && mayCampaign(s)) beginElection(s, true);
}

function beginElection(s: CoreState, transfer = false): void {
  becomeFollower(s, s.term, undefined);
  enterTerm(s, s.term + 1, s.config.id);
  s.role = 'candidate';
  resetElectionTimer(s);
  for (const to of otherVoters(s)) {
    sendAfterDurable(s, to, {
      type: 'vote',
      term: s.term,
      lastIndex: s.log.lastIndex,
      lastTerm: s.log.lastTerm,
      transfer,
    });
  }
}

/** The candidate's own vote counts once it is on disk. */
export function onHardStateDurable(s: CoreState): void {
  if (s.role !== 'candidate' || s.votes.has(s.config.id)) return;
  s.votes.set(s.config.id, true);
  decideElection(s);
}

function decideElection(s: CoreState): void {
  const outcome = s.log.quorum.outcome(s.votes);
  if (outcome === 'won') beginLeading(s);
  else if (outcome === 'lost') becomeFollower(s, s.term, undefined);
}

/** Answers without changing term, vote or lease, whatever the answer is. */
export function onPreVote(s: CoreState, from: MemberId, message: PreVote): void {
  const asked = message.term > s.term && !inLease(s) && mayVote(s);
  const granted = asked && isUpToDate(s, message.lastIndex, message.lastTerm);
  // Two that ask each other at once would both be granted and split the vote: the lower id goes on alone.
  if (granted && s.role === 'pre-candidate' && from < s.config.id) {
    becomeFollower(s, s.term, undefined);
    s.electionElapsed = s.electionTimeout;
  }
  if (granted && s.role === 'follower') {
    s.electionElapsed = Math.min(s.electionElapsed, s.electionTimeout - YIELD_TICKS);
  }
  sendNow(s, from, { type: 'pre-vote-reply', term: granted ? message.term : s.term, granted });
}

export function onPreVoteReply(s: CoreState, from: MemberId, message: PreVoteReply): void {
  if (s.role !== 'pre-candidate') return;
  if (message.granted && message.term !== s.term + 1) return;
  s.votes.set(from, message.granted);
  decidePreVote(s);
}

/** A request of this node's term; the caller has entered the term if it was a later one. */
export function onVote(s: CoreState, from: MemberId, message: Vote): void {
  const free = s.vote === from || (s.vote === undefined && s.leaderId === undefined);
  const asked = message.term === s.term && free && mayVote(s);
  const granted = asked && isUpToDate(s, message.lastIndex, message.lastTerm);
  if (granted) {
    if (s.vote !== from) castVote(s, from);
    resetElectionTimer(s);
  }
  sendAfterDurable(s, from, { type: 'vote-reply', term: s.term, granted });
}

export function onVoteReply(s: CoreState, from: MemberId, message: VoteReply): void {
  if (s.role !== 'candidate') return;
  s.votes.set(from, message.granted);
  decideElection(s);
}

/** Compares term first, then index (paper, section 5.4.1). */
function isUpToDate(s: CoreState, lastIndex: LogIndex, lastTerm: Term): boolean {
  if (mutated('raft.voteWithoutLogCheck')) return true;
  if (lastTerm !== s.log.lastTerm) return lastTerm > s.log.lastTerm;
  return lastIndex >= logIndex(s.log.lastIndex);
}
