import { describe, expect, test } from 'vitest';
import { isTidemarkError, memberId } from '../../../src/base/index.ts';
import { votersOf } from '../../../src/raft/configuration.ts';
import type { Effects, Message } from '../../../src/raft/core/index.ts';
import type { MembershipChange } from '../../../src/raft/index.ts';
import { rule } from '../../support/rule.ts';
import { configurationOf, memberOf, type ConfigurationText } from '../support/membership.ts';
import {
  ELECTION_TICKS,
  I,
  M,
  T,
  TestCore,
  accepted,
  append,
  configurationEntry,
  heartbeat,
  sent,
  type CoreSetup,
} from './harness.ts';

const { id: _, ...newcomer } = memberOf(9);
const preVote = (term: number, last = 9): Message => {
  return { type: 'pre-vote', term: T(term), lastIndex: I(last), lastTerm: T(last) };
};
const vote = (term: number, last = 9): Message => {
  return { type: 'vote', term: T(term), lastIndex: I(last), lastTerm: T(last), transfer: false };
};
const beat = (term: number): Message => ({ type: 'heartbeat-reply', term: T(term), round: 0 });

/** Leads, its no-op (entry 1) is committed, and these followers have it. */
function leader(members: ConfigurationText, following: readonly number[], setup: CoreSetup = {}): TestCore {
  const core = new TestCore({ members, ...setup }).lead();
  core.persisted();
  for (const id of following) core.receive(id, accepted(core.core.term, core.core.lastIndex));
  return core;
}

/** The code of a refusal, or the configuration that the change would lead to. */
function plan(core: TestCore, change: MembershipChange): unknown {
  try {
    const next = core.core.planChange(change);
    return next === undefined
      ? 'nothing'
      : { voters: votersOf(next), outgoing: next.outgoing, all: next.members.map(({ id }) => id) };
  } catch (error) {
    if (isTidemarkError(error)) return error.code;
    throw error;
  }
}

function change(core: TestCore, wanted: MembershipChange): Effects {
  const members = core.core.planChange(wanted);
  if (members === undefined) throw new Error('nothing to change');
  return core.step({ type: 'reconfigure', members });
}

function acknowledge(core: TestCore, ids: readonly number[]): void {
  for (const id of ids) core.receive(id, accepted(core.core.term, core.core.lastIndex));
}

const kinds = (effects: Effects, to: number) => {
  return sent(effects).flatMap(([whom, { type }]) => (whom === to ? [type] : []));
};

describe('a change is planned', () => {
  const voters = [1, 2, 3];
  const three = (following = [2, 3]): TestCore => leader({ voters, learners: [4, 5] }, [...following, 4]);

  test('of one voter or of learners as it is, of more voters as two halves', () => {
    const core = three();
    expect(plan(core, { add: [newcomer] })).toEqual({ voters, outgoing: [], all: [1, 2, 3, 4, 5, 6] });
    expect(plan(core, { promote: [M(4)] })).toMatchObject({ voters: [1, 2, 3, 4], outgoing: [] });
    expect(plan(core, { remove: [M(3), M(5)] })).toEqual({ voters: [1, 2], outgoing: [], all: [1, 2, 4] });
    expect(plan(core, { promote: [M(4)], remove: [M(3)] })).toEqual({
      voters: [1, 2, 4],
      outgoing: [1, 2, 3],
      all: [1, 2, 4, 5, 3],
    });
  });

  test('not when there is nothing to change: it may be asked for again', () => {
    const core = three();
    const { id: _id, ...known } = memberOf(4);
    for (const asked of [{}, { promote: [M(2)] }, { add: [known] }])
      expect(plan(core, asked)).toBe('nothing');
  });

  test('not over another, of unknown members, nor of an address that is taken', () => {
    const core = three();
    expect(plan(core, { expected: I(7), remove: [M(3)] })).toBe('MEMBERSHIP_CHANGED');
    expect(plan(core, { expected: I(0), remove: [M(3)] })).toMatchObject({ voters: [1, 2] });
    for (const key of ['promote', 'remove']) expect(plan(core, { [key]: [M(8)] })).toBe('MEMBER_UNKNOWN');
    const { clientAddress, peerAddress } = memberOf(2);
    for (const taken of [
      { clientAddress, peerAddress },
      { ...newcomer, peerAddress },
    ]) {
      expect(plan(core, { add: [taken] })).toBe('MEMBER_EXISTS');
    }
  });

  rule('raft.addressTwice', 'with no address twice, also among those that it adds', () => {
    const core = three();
    const { id: _id, ...same } = memberOf(9);
    const { id: _other, ...alike } = { ...memberOf(10), clientAddress: same.clientAddress };
    expect(plan(core, { add: [same, same] })).toEqual({ voters, outgoing: [], all: [1, 2, 3, 4, 5, 6] });
    expect(plan(core, { add: [same, alike] })).toBe('MEMBER_EXISTS');
    const { id: _leaving, ...leaving } = memberOf(4);
    expect(plan(core, { remove: [M(4)], add: [leaving] })).toMatchObject({ all: [1, 2, 3, 5, 6] });
  });

  test('not while the lead is handed over', () => {
    const core = three();
    core.step({ type: 'transfer', to: M(2) });
    expect(plan(core, { add: [newcomer] })).toBe('MEMBERSHIP_CHANGE_PENDING');
  });

  test('with ids that were never given before [R51]', () => {
    const core = leader({ voters, next: 8 }, [2, 3]);
    expect(plan(core, { add: [newcomer] })).toMatchObject({ all: [1, 2, 3, 8] });
    change(core, { add: [newcomer] });
    acknowledge(core, [2, 3]);
    core.persisted();
    change(core, { remove: [M(8)] });
    acknowledge(core, [2, 3]);
    core.persisted();
    expect(plan(core, { add: [newcomer] })).toMatchObject({ all: [1, 2, 3, 9] });
  });

  rule('raft.twoPendingChanges', 'not before the one before is committed [R46]', () => {
    const core = three();
    change(core, { add: [newcomer] });
    expect(plan(core, { remove: [M(3)] })).toBe('MEMBERSHIP_CHANGE_PENDING');
    core.persisted();
    acknowledge(core, [2]);
    expect(plan(core, { remove: [M(3)] })).toMatchObject({ voters: [1, 2] });
  });

  rule('raft.changeBeforeOwnTermCommit', 'not before the leader has committed in its term [R47]', () => {
    const core = new TestCore().lead();
    expect(plan(core, { add: [newcomer] })).toBe('MEMBERSHIP_CHANGE_PENDING');
    core.persisted();
    acknowledge(core, [2]);
    expect(plan(core, { add: [newcomer] })).toMatchObject({ voters });
  });

  rule('raft.promotesUnready', 'not of a learner that is silent or behind [R53]', () => {
    const core = leader({ voters: [1], learners: [2, 3] }, [2]);
    expect(plan(core, { promote: [M(3)] })).toBe('LEARNER_BEHIND');
    expect(plan(core, { promote: [M(2)] })).toMatchObject({ voters: [1, 2] });
    core.tick(ELECTION_TICKS);
    expect(plan(core, { promote: [M(2)] })).toBe('LEARNER_BEHIND');
  });

  rule('raft.changesIntoSilence', 'not into a quorum that does not answer, nor into none [R53]', () => {
    const core = three([2]);
    expect(plan(core, { remove: [M(2)] })).toBe('MEMBERSHIP_UNSAFE');
    expect(plan(core, { remove: [M(1), M(2), M(3)] })).toBe('MEMBERSHIP_UNSAFE');
  });

  test('although a voter is dead: a learner takes its place', () => {
    const core = three([2]);
    expect(plan(core, { promote: [M(4)], remove: [M(3)] })).toMatchObject({ voters: [1, 2, 4] });
    expect(plan(core, { remove: [M(3)] })).toMatchObject({ voters: [1, 2] });
  });
});

describe('learners', () => {
  rule('raft.learnerCounts', 'get the log, and do not count', () => {
    const core = leader({ voters: [1, 2, 3], learners: [4, 5] }, [2]);
    const effects = core.step({ type: 'propose', data: [Buffer.from('a')] });
    expect(kinds(effects, 2)).toEqual(['append']);
    core.persisted();
    acknowledge(core, [4, 5]);
    expect(core.core.commitIndex).toBe(1);
    acknowledge(core, [3]);
    expect(core.core.commitIndex).toBe(2);
  });

  rule('raft.learnerCampaigns', 'never campaign, on no timeout and for no leader', () => {
    const core = new TestCore({ id: 4, members: { voters: [1, 2, 3], learners: [4] } });
    core.tick(5 * ELECTION_TICKS);
    core.receive(1, append(1, { prev: [0, 0], terms: [1] }));
    core.receive(1, { type: 'timeout-now', term: T(1) });
    core.receive(1, heartbeat(1));
    core.tick(5 * ELECTION_TICKS);
    expect([core.core.role, core.core.term]).toEqual(['follower', 1]);
    expect(core.log.flatMap((effects) => kinds(effects, 2))).toEqual([]);
  });

  test('that were made voters without knowing it answer votes [R16]', () => {
    const core = new TestCore({ id: 4, members: { voters: [1, 2, 3], learners: [4] } });
    expect(sent(core.receive(2, vote(1)))).toEqual([[2, { type: 'vote-reply', term: 1, granted: true }]]);
  });

  rule('raft.strangerVotes', 'that know of no cluster vote for nobody [R52]', () => {
    const core = new TestCore({ id: 4, members: {} });
    for (const message of [preVote(1), vote(1)]) {
      expect(sent(core.receive(2, message))).toMatchObject([[2, { granted: false }]]);
    }
  });

  test('are not handed the lead', () => {
    const core = leader({ voters: [1, 2], learners: [3] }, [2, 3]);
    core.step({ type: 'transfer', to: M(3) });
    expect(core.core.transferee).toBeUndefined();
  });
});

describe('a configuration', () => {
  const joint = configurationOf({ index: 2, voters: [1, 4, 5], outgoing: [1, 2, 3] });
  const withEntry = (id: number): TestCore => {
    const core = new TestCore({ id, log: [1], applied: 1 });
    const entries = [configurationEntry(joint, 1)];
    core.receive(3, { ...append(1, { prev: [1, 1] }), entries });
    core.persisted();
    return core;
  };

  rule(
    'raft.configurationNotRolledBack',
    'is in force once appended, and not any more once replaced [R48]',
    () => {
      const core = withEntry(2);
      expect(core.core.configuration).toEqual(joint);
      core.receive(1, append(2, { prev: [1, 1], terms: [2] }));
      expect(core.core.configuration).toEqual(configurationOf({ voters: [1, 2, 3] }));
    },
  );

  rule(
    'raft.votesInOldConfiguration',
    'of two halves elects by both, though it is not committed [R15 R49]',
    () => {
      const core = withEntry(1).campaign();
      expect(core.core.role).toBe('candidate');
      for (const id of [2, 3, 4]) {
        expect(core.core.role).toBe('candidate');
        core.receive(id, { type: 'vote-reply', term: core.core.term, granted: id !== 2 });
      }
      expect(core.core.role).toBe('leader');
    },
  );

  test('of two halves refuses by either', () => {
    const core = withEntry(1).campaign();
    for (const id of [4, 5]) core.receive(id, { type: 'vote-reply', term: core.core.term, granted: false });
    expect(core.core.role).toBe('follower');
  });

  rule('raft.commitByNewHalfOnly', 'of two halves commits by both [R49]', () => {
    const core = leader({ voters: [1, 4, 5], outgoing: [1, 2, 3], index: 0 }, []);
    acknowledge(core, [4, 5]);
    expect(core.core.commitIndex).toBe(0);
    acknowledge(core, [2]);
    expect(core.core.commitIndex).toBe(1);
  });

  test('of two halves needs both to hear the leader [R14]', () => {
    const core = leader({ voters: [1, 4, 5], outgoing: [1, 2, 3] }, [2, 4]);
    for (let tick = 0; tick < ELECTION_TICKS; tick++) {
      for (const id of [2, 3]) core.receive(id, beat(core.core.term));
      core.tick();
    }
    expect(core.core.role).toBe('follower');
  });

  rule('raft.jointNeverLeft', 'of two halves is left by whoever leads when it is committed [R49]', () => {
    const core = withEntry(1).lead();
    core.persisted();
    acknowledge(core, [2, 4]);
    const left = { voters: [1, 4, 5], next: joint.nextMemberId, index: 4 };
    expect(core.core.configuration).toEqual(configurationOf(left));
    expect(core.core.followers.map(({ id }) => id)).toEqual([4, 5]);
  });

  rule('raft.installKeepsConfiguration', 'comes with a snapshot [R38]', () => {
    const core = new TestCore({ id: 4, members: {} });
    core.receive(1, heartbeat(1));
    const configuration = configurationOf({ index: 5, voters: [1, 2, 3], learners: [4] });
    const at = { index: I(8), term: T(1), configuration };
    const { persist } = core.step({ type: 'installed', at });
    expect(core.core.configuration).toEqual(configuration);
    expect(persist?.log?.base).toEqual(at);
  });

  test('at an entry is found after compaction', () => {
    const core = withEntry(2);
    core.receive(1, append(2, { prev: [2, 1], terms: [2, 2], commit: 4 }));
    core.persisted();
    core.step({ type: 'compact', index: I(3) });
    expect(core.core.configurationAt(I(3))).toEqual(joint);
  });
});

describe('whoever is removed', () => {
  const without = { voters: [1, 2], next: 4 };

  rule('raft.removedLeaderCounts', 'leads on until that is committed, and does not count [R50]', () => {
    const core = leader({ voters: [1, 2, 3] }, [2, 3]);
    change(core, { remove: [M(1)] });
    core.persisted();
    acknowledge(core, [2]);
    expect([core.core.role, core.core.commitIndex]).toEqual(['leader', 1]);
    acknowledge(core, [3]);
    expect([core.core.role, core.core.commitIndex]).toEqual(['follower', 2]);
  });

  rule('raft.removedLeaderStays', 'then steps down, and asks the nearest to lead [R50]', () => {
    const core = leader({ voters: [1, 2, 3] }, [2, 3]);
    change(core, { remove: [M(1)] });
    acknowledge(core, [2]);
    const effects = core.receive(3, accepted(1, 2));
    expect(sent(effects)).toContainEqual([2, { type: 'timeout-now', term: 1 }]);
    expect([core.core.role, core.core.removed]).toEqual(['follower', true]);
    core.tick(5 * ELECTION_TICKS);
    expect(core.core.role).toBe('follower');
  });

  rule(
    'raft.openRemovalSilences',
    'campaigns on while that is not committed, without its own vote [R50]',
    () => {
      const core = new TestCore({ members: { voters: [1, 2] }, log: [1], applied: 1 });
      const entries = [configurationEntry(configurationOf({ index: 2, voters: [2], next: 3 }), 1)];
      core.receive(2, { ...append(1, { prev: [1, 1] }), entries });
      core.tick(2 * ELECTION_TICKS);
      expect(core.core.role).toBe('pre-candidate');
      core.lead();
      expect(core.core.role).toBe('leader');
      acknowledge(core, [2]);
      expect([core.core.commitIndex, core.core.role, core.core.removed]).toEqual([3, 'follower', true]);
    },
  );

  rule('raft.removedRaisesTerm', 'raises no term, gets no vote, and is told [R11]', () => {
    const core = new TestCore({ members: without, log: [1], applied: 1 });
    for (const message of [preVote(7), vote(7), heartbeat(7), append(7, { prev: [1, 1] })]) {
      expect(sent(core.receive(3, message))).toEqual([[3, { type: 'removed', term: 1 }]]);
    }
    expect(sent(core.receive(3, { type: 'vote-reply', term: T(7), granted: false }))).toEqual([]);
    expect(core.core.term).toBe(1);
  });

  test('is told when the change is committed, and appended to no more [R32]', () => {
    const core = leader({ voters: [1, 2], learners: [3] }, [2, 3]);
    expect(kinds(change(core, { remove: [M(3)] }), 3)).toEqual([]);
    core.persisted();
    const effects = core.receive(2, accepted(1, 2));
    expect(kinds(effects, 3)).toEqual(['removed']);
    expect(core.receive(3, accepted(1, 1)).sendNow).toEqual([]);
  });

  test('gives up when it is told', () => {
    const core = new TestCore({ id: 3 }).campaign();
    core.receive(1, { type: 'removed', term: T(1) });
    expect([core.core.role, core.core.removed]).toEqual(['follower', true]);
    core.tick(5 * ELECTION_TICKS);
    expect(core.core.role).toBe('follower');
  });

  rule('raft.removedByOlderTermUnheard', 'gives up also when its own term is higher by now', () => {
    const core = new TestCore({ id: 3, term: 7 }).campaign();
    core.receive(1, { type: 'removed', term: T(1) });
    expect([core.core.role, core.core.removed, core.core.term]).toEqual(['follower', true, 8]);
  });

  rule('raft.removedVotes', 'votes no more once it is told', () => {
    const core = new TestCore({ id: 3 });
    core.receive(1, { type: 'removed', term: T(1) });
    for (const asked of [preVote(2), vote(2)]) {
      expect(sent(core.receive(2, asked))).toMatchObject([[2, { granted: false }]]);
    }
  });

  test('only by an uncommitted change is heard still', () => {
    const core = new TestCore({ log: [1], applied: 1 });
    const entries = [configurationEntry(configurationOf({ index: 2, voters: [1, 2], next: 4 }), 1)];
    core.receive(2, { ...append(1, { prev: [1, 1] }), entries });
    core.tick(ELECTION_TICKS);
    expect(sent(core.receive(3, vote(2, 2)))).toMatchObject([[3, { type: 'vote-reply', granted: true }]]);
  });

  test('is not confused with a member that this one has not heard of yet', () => {
    const core = new TestCore({ members: without });
    core.receive(7, append(2, { prev: [0, 0], terms: [2] }));
    expect([core.core.leaderId, core.core.term]).toEqual([memberId(7), 2]);
  });
});
