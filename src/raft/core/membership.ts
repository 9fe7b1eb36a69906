/**
 * Changing who belongs to the cluster (paper, section 6; thesis, chapter 4). A change of one voter takes
 * effect by itself, since the majorities before and after it overlap; more voters at once go through a joint
 * configuration, which whoever leads when it is committed leaves again. Learners change freely.
 */
import {
  LIMITS,
  TidemarkError,
  assert,
  logIndex,
  memberId,
  mutated,
  type MemberId,
} from '../../base/index.ts';
import { votersOf, wasRemoved, withoutOldHalf, type NewConfiguration } from '../configuration.ts';
import type { Configuration, ConfiguredMember, Member, MembershipChange } from '../types.ts';
import { Progress } from './progress.ts';
import { Quorum } from './quorum.ts';
import { replicateToAll } from './replication.ts';
import { appendConfiguration, becomeFollower, peers, sendNow, type CoreState } from './state.ts';
import { nearest } from './transfer.ts';

/**
 * Returns the configuration that a change leads to, undefined if it asks for what there is already.
 * @throws TidemarkError if the change must not be begun (the codes of `RaftNode.changeMembership`).
 */
export function planChange(s: CoreState, change: MembershipChange): NewConfiguration | undefined {
  const { configuration } = s.log;
  if (change.expected !== undefined && change.expected !== configuration.index) {
    const text = `the members are those of entry ${configuration.index}, not of ${change.expected}`;
    throw new TidemarkError('MEMBERSHIP_CHANGED', text);
  }
  refuseSecond(s);
  const { promote = [], remove = [], add = [] } = change;
  for (const id of [...promote, ...remove]) memberOf(configuration, id);
  const unready = promote.filter((id) => memberOf(configuration, id).role === 'learner' && !isReady(s, id));
  if (unready.length > 0 && !mutated('raft.promotesUnready')) throw behind(unready);
  const next = changed(configuration, { promote, remove, add });
  if (next === undefined) return undefined;
  refuseUnsafe(s, next);
  return next;
}

/** Appends a configuration; from now on it is in force here. */
export function reconfigure(s: CoreState, members: NewConfiguration): void {
  assert(s.role === 'leader', 'only a leader changes the members');
  appendConfiguration(s, members);
  followMembers(s);
  replicateToAll(s);
}

/** Knows the progress of every other member, and of nobody else. A new one is sent the last entry first. */
function followMembers(s: CoreState): void {
  const others = peers(s);
  for (const id of s.progress.keys()) if (!others.includes(id)) s.progress.delete(id);
  for (const id of others) if (!s.progress.has(id)) s.progress.set(id, new Progress(s.log.lastIndex));
}

/**
 * Does what follows from a configuration's commitment: a joint one is left, those who are no members any more
 * are told, and a leader that is none hands over and steps down (thesis, section 4.2.2). To be called after
 * each step of a leader.
 */
export function settleMembership(s: CoreState): void {
  const { configuration, quorum } = s.log;
  if (configuration.index <= s.settled || s.commit < Math.max(configuration.index, s.ownTermIndex)) return;
  if (configuration.outgoing.length > 0) {
    if (!mutated('raft.jointNeverLeft')) reconfigure(s, withoutOldHalf(configuration));
    return;
  }
  for (const id of departed(s, configuration)) sendNow(s, id, { type: 'removed', term: s.term });
  s.settled = configuration.index;
  if (quorum.isVoter(s.config.id) || mutated('raft.removedLeaderStays')) return;
  const next = nearest(s);
  if (next !== undefined) sendNow(s, next, { type: 'timeout-now', term: s.term });
  becomeFollower(s, s.term, undefined);
}

/** Tells whether the committed configuration says that this is a member no more. */
export function isRemoved(s: CoreState, id: MemberId): boolean {
  return !s.log.quorum.knows(id) && wasRemoved(s.log.configurationAt(s.commit), id);
}

/** Members of the configuration before, as far as the log still has it. */
function departed(s: CoreState, configuration: Configuration): readonly MemberId[] {
  if (configuration.index <= s.log.base.index) return [];
  const before = s.log.configurationAt(logIndex(configuration.index - 1)).members.map(({ id }) => id);
  return before.filter((id) => id !== s.config.id && wasRemoved(configuration, id));
}

/**
 * One change at a time; and none before this leader has committed an entry of its own term, or two leaders
 * could each change the members by one and then decide without each other (Ongaro, raft-dev, 2015).
 */
function refuseSecond(s: CoreState): void {
  const { configuration } = s.log;
  const open = configuration.outgoing.length > 0 || configuration.index > s.commit;
  if (open && !mutated('raft.twoPendingChanges')) {
    throw pending(`the members of entry ${configuration.index} are not committed yet`);
  }
  if (s.commit < s.ownTermIndex && !mutated('raft.changeBeforeOwnTermCommit')) {
    throw pending('this leader has not committed an entry of its own term yet');
  }
  if (s.transfer !== undefined) throw pending('the lead is being handed over');
}

/** Heard lately, and holds what is committed but for one append (thesis, section 4.2.1). */
function isReady(s: CoreState, id: MemberId): boolean {
  const match = s.progress.get(id)?.match ?? 0;
  const near = s.commit - match <= s.config.appendLimit.entries;
  return isFollowing(s, id) && near && match >= s.log.configuration.index;
}

function isFollowing(s: CoreState, id: MemberId): boolean {
  const progress = s.progress.get(id);
  return progress?.state === 'replicate' && progress.silentTicks < s.config.electionTicks;
}

function changed(
  configuration: Configuration,
  { add, promote, remove }: Required<Pick<MembershipChange, 'add' | 'promote' | 'remove'>>,
): NewConfiguration | undefined {
  const { members } = configuration;
  const rising = promote.filter((id) => memberOf(configuration, id).role === 'learner');
  const stayed = members.filter(({ id }) => !remove.includes(id));
  const added: Addresses[] = [];
  for (const one of add) if (!isAmong([...stayed, ...added], one)) added.push(one);
  if (added.length + rising.length + remove.length === 0) return undefined;
  const first = configuration.nextMemberId;
  const came = added.map((one, at): ConfiguredMember => {
    return { ...one, id: memberId(first + at), role: 'learner' };
  });
  const next = stayed.map((one): ConfiguredMember => {
    return rising.includes(one.id) ? { ...one, role: 'voter' } : one;
  });
  const nextMemberId = memberId(first + added.length);
  const plain = { members: [...next, ...came], outgoing: [], nextMemberId };
  const old = votersOf(configuration);
  const left = old.filter((id) => !votersOf(plain).includes(id));
  if (left.length + votersOf(plain).length - (old.length - left.length) <= 1) return plain;
  const leaving = members.filter(({ id }) => left.includes(id));
  const asLearners = leaving.map((one): ConfiguredMember => ({ ...one, role: 'learner' }));
  return { members: [...plain.members, ...asLearners], outgoing: old, nextMemberId };
}

type Addresses = Omit<Member, 'id'>;

/** An address names one member: a learner that has both is meant again, anything else is a mistake. */
function isAmong(others: readonly (Addresses | ConfiguredMember)[], wanted: Addresses): boolean {
  const { peerAddress, clientAddress } = wanted;
  const found = others.find((one) => {
    return one.peerAddress === peerAddress || one.clientAddress === clientAddress;
  });
  if (found === undefined || mutated('raft.addressTwice')) return false;
  const same = found.peerAddress === peerAddress && found.clientAddress === clientAddress;
  const known = 'id' in found ? `member ${found.id} (${found.role})` : 'another that comes with it';
  if (same && (!('id' in found) || found.role === 'learner')) return true;
  throw new TidemarkError('MEMBER_EXISTS', `${known} has such an address`);
}

function refuseUnsafe(s: CoreState, next: NewConfiguration): void {
  const voters = votersOf(next);
  if (next.members.length > LIMITS.membersMax || voters.length > LIMITS.votersMax) {
    throw unsafe(`there would be ${voters.length} voters and ${next.members.length} members`);
  }
  if (voters.length === 0) throw unsafe('there would be no voter');
  const heard = new Quorum(next).agree((id) => id === s.config.id || isFollowing(s, id));
  if (heard || mutated('raft.changesIntoSilence')) return;
  const silent = voters.filter((id) => id !== s.config.id && !isFollowing(s, id));
  throw unsafe(`no majority of the voters ${voters.join(', ')} follows: not ${silent.join(', ')}`);
}

function memberOf({ members }: Configuration, id: MemberId): ConfiguredMember {
  const found = members.find((one) => one.id === id);
  if (found === undefined) throw new TidemarkError('MEMBER_UNKNOWN', `there is no member ${id}`);
  return found;
}

function pending(text: string): TidemarkError {
  return new TidemarkError('MEMBERSHIP_CHANGE_PENDING', text);
}

function behind(ids: readonly MemberId[]): TidemarkError {
  return new TidemarkError('LEARNER_BEHIND', `not caught up: ${ids.join(', ')}`);
}

function unsafe(text: string): TidemarkError {
  return new TidemarkError('MEMBERSHIP_UNSAFE', text);
}
