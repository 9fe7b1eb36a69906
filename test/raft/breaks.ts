/**
 * How each requirement of ./requirements.ts can be broken: a rule that the test build can switch off, or one
 * passage of the product that reads otherwise. `npm run mutations -- R` does one after the other and wants
 * the tests of that requirement to fail.
 */
import type { MutationName } from '../../src/base/test-build-names.ts';
import type { Break } from '../support/breaking.ts';

export interface RequirementBreak {
  readonly requirement: number;
  readonly broken: MutationName | Break;
}

const by = (requirement: number, broken: MutationName): RequirementBreak => ({ requirement, broken });

const passage =
  (file: string) =>
  (requirement: number, find: string, replace: string): RequirementBreak => ({
    requirement,
    broken: { file, find, replace },
  });

const election = passage('src/raft/core/election.ts');
const follower = passage('src/raft/core/follower.ts');
const replication = passage('src/raft/core/replication.ts');
const progress = passage('src/raft/core/progress.ts');
const core = passage('src/raft/core/raft-core.ts');
const state = passage('src/raft/core/state.ts');
const reads = passage('src/raft/core/read-rounds.ts');
const durability = passage('src/raft/core/durability.ts');
const driver = passage('src/raft/driver/driver.ts');
const logStore = passage('src/raft/log-store/log-store.ts');
const sessions = passage('src/statemachine/commands/sessions.ts');

const IN_LEASE = 'return s.leaderId !== undefined && s.leaderSilence < s.config.electionTicks;';
const PRE_VOTE_REPLY =
  "sendNow(s, from, { type: 'pre-vote-reply', term: granted ? message.term : s.term, granted });";

export const BREAKS: readonly RequirementBreak[] = [
  by(1, 'raft.ackBeforePersist'),
  election(1, "sendAfterDurable(s, from, { type: 'vote-reply'", "sendNow(s, from, { type: 'vote-reply'"),
  by(2, 'raft.voteNotPersisted'),
  election(2, 'const free = s.vote === from', 'const free = true || s.vote === from'),
  by(3, 'raft.voteWithoutLogCheck'),
  election(4, PRE_VOTE_REPLY, `resetElectionTimer(s);\n${PRE_VOTE_REPLY}`),
  follower(4, 's.leaderContacts++;\n  resetElectionTimer(s);', 's.leaderContacts++;'),
  state(5, 'electionTicks + s.random.next(electionTicks)', 'electionTicks'),
  passage('src/raft/driver/start.ts')(5, 'seed: randomInt(2 ** 32)', 'seed: 1'),
  election(6, PRE_VOTE_REPLY, `if (granted) becomeFollower(s, message.term, undefined);\n${PRE_VOTE_REPLY}`),
  election(7, 'term: granted ? message.term : s.term, granted', 'term: s.term, granted'),
  core(8, "sendAfterDurable(s, from, { type: 'heartbeat-reply', term: s.term, round: 0 });", ''),
  core(9, "sendNow(s, from, { type: 'pre-vote-reply', term: s.term, granted: false });", ''),
  state(10, IN_LEASE, 'return false;'),
  core(10, 'inLease(s) && !message.transfer', 'inLease(s)'),
  by(11, 'raft.noPreVote'),
  by(11, 'raft.removedRaisesTerm'),
  state(12, IN_LEASE, 'return false;'),
  state(13, IN_LEASE, 'return false;'),
  by(14, 'raft.noCheckQuorum'),
  by(15, 'raft.votesInOldConfiguration'),
  election(
    16,
    'function mayVote(s: CoreState): boolean {',
    'function mayVote(s: CoreState): boolean {\n  if (!mayCampaign(s)) return false;',
  ),
  state(17, 'alone ? 1 :', ''),
  replication(17, 'const { durableIndex } = s.durability;', 'const durableIndex = s.log.lastIndex;'),
  passage('src/raft/driver/ticker.ts')(
    18,
    `this.#parts.laterTurn(() => {
        this.#parts.laterTurn(() => {
          this.#tick();
        });
      });`,
    'this.#tick();',
  ),
  passage('src/raft/driver/ticker.ts')(
    18,
    'this.#parts.onTick();',
    'for (let ms = 0; ms < gapMs; ms += this.#parts.tickMs) this.#parts.onTick();',
  ),
  by(19, 'raft.commitOlderTermByCounting'),
  by(20, 'raft.readIndexBeforeOwnTermCommit'),
  core(20, 's.commit >= s.ownTermIndex &&', ''),
  core(21, 'hardState: hardStateChanged ?', 'hardState: hardStateChanged && changedFrom === undefined ?'),
  follower(22, 'if (term === entry.term) return;', ''),
  by(23, 'raft.commitBeyondVerified'),
  passage('src/raft/core/reads.ts')(24, 'Math.min(progress.match, s.commit)', 's.commit'),
  by(25, 'raft.ackBeforePersist'),
  by(25, 'raft.ackWholeLog'),
  durability(26, 'durable = Math.min(durable, write.first - 1);', ''),
  replication(27, 'const { durableIndex } = s.durability;', 'const durableIndex = s.log.lastIndex;'),
  by(27, 'raft.logNotSynced'),
  by(28, 'raft.goesOnAfterFailedWrite'),
  logStore(29, 'hardState.writes < seen', 'hardState.writes < 0'),
  progress(30, 'Math.min(retryAfter, prevIndex - 1)', 'prevIndex - 1'),
  by(31, 'raft.probeSendsMany'),
  by(31, 'raft.inflightUnbounded'),
  by(32, 'raft.olderTermAccepted'),
  by(32, 'raft.lateAckMovesBack'),
  by(33, 'raft.uncommittedUnbounded'),
  by(34, 'raft.lateAckMovesBack'),
  passage('src/statemachine/write-behind.ts')(
    35,
    'batch.put(HEAD_KEY, encodeRow(HEAD_KEY, stored).bytes);',
    'await this.putHead(stored, { sync: false });',
  ),
  by(36, 'state.digestIgnoresDeletes'),
  core(37, 'Math.min(s.durability.durableIndex, commit)', 'commit'),
  by(38, 'raft.installKeepsConfiguration'),
  by(39, 'raft.compactBeforeFlush'),
  passage('src/raft/driver/follow-installed.ts')(
    40,
    'if (store.termAt(installed.index) === installed.term) return;',
    'if (store.lastIndex >= 0) return;',
  ),
  by(41, 'raft.installKeepsConflict'),
  follower(42, 'if (needsState(s, message.lastIndex))', 'if (message.lastIndex >= 0)'),
  by(43, 'raft.compactsBeforeFollowers'),
  by(43, 'raft.repeatedSnapshotsUnnoticed'),
  passage('src/raft/driver/snapshot-receiver.ts')(
    44,
    'known.term === term && known.stream === stream',
    'known.term === term',
  ),
  by(46, 'raft.twoPendingChanges'),
  by(47, 'raft.changeBeforeOwnTermCommit'),
  by(48, 'raft.configurationNotRolledBack'),
  by(49, 'raft.commitByNewHalfOnly'),
  by(49, 'raft.jointNeverLeft'),
  by(50, 'raft.removedLeaderCounts'),
  by(50, 'raft.removedLeaderStays'),
  passage('src/raft/core/membership.ts')(
    51,
    'const first = configuration.nextMemberId;',
    'const first = Math.max(...configuration.members.map(({ id }) => id)) + 1;',
  ),
  by(52, 'raft.strangerVotes'),
  logStore(52, 'options.mustExist ||', ''),
  by(53, 'raft.promotesUnready'),
  by(53, 'raft.changesIntoSilence'),
  passage('src/raft/grpc-transport/hello.ts')(54, 'clusterId !== expected.clusterId', 'false'),
  by(55, 'backup.clusterIdKept'),
  by(56, 'raft.readIndexWithoutQuorum'),
  reads(
    57,
    'const confirmed = this.#waiting.filter((read) => read.round <= round);',
    'const confirmed = this.#waiting;',
  ),
  passage('src/raft/driver/pending-reads.ts')(
    58,
    'first !== undefined && first.index <= applied',
    'first !== undefined',
  ),
  reads(60, 'this.#proof = this.#round;', ''),
  by(61, 'raft.transferTakesProposals'),
  by(61, 'raft.transferWithoutCatchUp'),
  by(62, 'raft.readIndexWithoutQuorum'),
  by(62, 'scheduler.dispatchesWhenDeposed'),
  by(63, 'coordinator.proposeOfOlderTerm'),
  by(65, 'state.sessionNotDeduplicated'),
  sessions(66, "refuse('SESSION_EXPIRED', `session ${sessionId} is not known`)", "refuse('BAD_REQUEST', '')"),
  sessions(67, 'session.lastUsedMs < oldest.lastUsedMs', 'session.lastUsedMs > oldest.lastUsedMs'),
  driver(68, 'failAll(refused, unknownOutcome(', 'failAll(refused, (() => refused)('),
  by(73, 'coordinator.digestsNotCompared'),
  by(75, 'coordinator.proposeOfOlderTerm'),
  by(75, 'scheduler.dispatchesWhenDeposed'),
  driver(
    75,
    'this.#publish();\n      this.#handover.look();',
    'this.#laterTurn(() => void this.#publish());',
  ),
];
