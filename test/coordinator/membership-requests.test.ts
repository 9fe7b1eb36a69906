/** What the leader makes of requests to change the members, before and after consensus is asked. */
import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LIMITS, TidemarkError, clusterId, logIndex, memberId, must } from '../../src/base/index.ts';
import type { ErrorCode } from '../../src/base/index.ts';
import { readIdentity } from '../../src/coordinator/members/identity.ts';
import { Membership } from '../../src/coordinator/members/membership.ts';
import { createLogger } from '../../src/ops/index.ts';
import type { Configuration, MembershipChange, RaftStatus } from '../../src/raft/index.ts';
import { insecureCredentials } from '../../src/wire/index.ts';
import { memberOf, membershipOf } from '../raft/support/membership.ts';
import { rule } from '../support/rule.ts';
import { TestCluster } from './cluster-harness.ts';

const OWN = clusterId('ab'.repeat(16));

/** Consensus that agrees to everything, unless told otherwise, and remembers it. */
class Agreeing {
  configuration: Configuration = membershipOf([1, 2, 3]).configuration;
  leads = 1;
  unsafe = false;
  readonly changes: MembershipChange[] = [];

  status(): RaftStatus {
    return {
      ...membershipOf([]),
      clusterId: OWN,
      memberId: memberId(1),
      role: this.leads === 1 ? 'leader' : 'follower',
      term: 3 as RaftStatus['term'],
      leaderId: memberId(this.leads),
      leading: this.leads === 1,
      commitIndex: logIndex(9),
      appliedIndex: logIndex(9),
      lastIndex: logIndex(9),
      configuration: this.configuration,
      members: this.configuration.members,
      followers: [],
      leaderContactMs: 0,
    };
  }

  readIndex(): Promise<RaftStatus['commitIndex']> {
    return Promise.resolve(logIndex(9));
  }

  changeMembership(change: MembershipChange): Promise<Configuration> {
    if (this.unsafe)
      return Promise.reject(new TidemarkError('MEMBERSHIP_UNSAFE', 'no majority would answer'));
    if (change.checkOnly === true) return Promise.resolve(this.configuration);
    this.changes.push(change);
    const { nextMemberId: next } = this.configuration;
    const added = (change.add ?? []).map((one) => ({ ...one, id: next, role: 'learner' as const }));
    const members = this.configuration.members.filter(({ id }) => change.remove?.includes(id) !== true);
    this.configuration = {
      ...this.configuration,
      index: logIndex(this.configuration.index + 5),
      members: [...members, ...added],
      nextMemberId: memberId(next + added.length),
    };
    return Promise.resolve(this.configuration);
  }

  transferLeadership(): Promise<void> {
    this.leads = 2;
    return Promise.resolve();
  }
}

let waiting: TestCluster;
let raft: Agreeing;
let membership: Membership;

beforeEach(async () => {
  waiting = await TestCluster.start(1);
  raft = new Agreeing();
  const log = createLogger({ role: 'test', level: 'silent' });
  membership = new Membership({ clusterId: OWN, raft, credentials: insecureCredentials(), log });
});

afterEach(() => waiting.stop());

const add = (over: { readonly peerAddress?: string; readonly clientAddress?: string } = {}) => {
  const { peerAddress, clientAddress } = must(waiting.slots[0], 'slot');
  return membership.add({ format: 1, peerAddress, clientAddress, replaces: 0n, ...over });
};

const coded = async (code: ErrorCode, call: Promise<unknown>): Promise<void> => {
  await expect(call).rejects.toMatchObject({ code, next: expect.any(String) });
};

/** The waiting coordinator as a member of the cluster already, so says its log. */
function listWaiting(role: 'voter' | 'learner'): void {
  const { peerAddress, clientAddress } = must(waiting.slots[0], 'slot');
  const { members } = raft.configuration;
  const listed = { id: memberId(4), peerAddress, clientAddress, role };
  raft.configuration = { ...raft.configuration, members: [...members, listed], nextMemberId: memberId(5) };
}

describe('adding a member', () => {
  test('commits a learner under the next id, then admits it; again changes nothing', async () => {
    expect(await add()).toMatchObject({ memberId: 4n, changed: true, configurationIndex: 5n });
    expect(raft.changes).toEqual([{ expected: 0, add: [expect.objectContaining({})] }]);
    expect(waiting.at(0).status()).toMatchObject({ clusterId: OWN, memberId: 4n });
    expect(await add()).toMatchObject({ memberId: 4n, changed: false });
    expect(raft.changes).toHaveLength(1);
  });

  rule('coordinator.addWithoutAsking', 'is refused before the commit when it cannot be reached', async () => {
    raft.changes.length = 0;
    await expect(add({ clientAddress: '127.0.0.1:1' })).rejects.toMatchObject({ code: 'MEMBER_UNREACHABLE' });
    expect(raft.changes).toEqual([]);
  });

  test('is refused, and changes nothing, for addresses that are not its own or are a member’s', async () => {
    const { clientAddress } = memberOf(2);
    await coded('MEMBER_MISMATCH', add({ peerAddress: '127.0.0.1:1' }));
    await coded('MEMBER_EXISTS', add({ clientAddress }));
    for (const peerAddress of ['nowhere', '127.0.0.1:0', `${'x'.repeat(LIMITS.addressLengthMax)}:1`]) {
      await expect(add({ peerAddress })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    }
    expect(raft.changes).toEqual([]);
    expect(waiting.at(0).status().clusterId).toBe('');
  });

  test('is refused for a node of another cluster, and for one that was a member here', async () => {
    await waiting.client().init(waiting.addresses);
    await coded('ALREADY_INITIALIZED', add());
    expect(raft.changes).toEqual([]);
  });

  test('finishes what was interrupted between commit and admission, under a new id', async () => {
    listWaiting('learner');
    expect(await add()).toMatchObject({ memberId: 5n, changed: true });
    expect(raft.changes).toEqual([
      { expected: 0, remove: [4] },
      { expected: 5, add: [expect.objectContaining({})] },
    ]);
    expect(waiting.at(0).status()).toMatchObject({ clusterId: OWN, memberId: 5n });
    // It hears the members that there are now, not the one that it was listed as before.
    const identity = await readIdentity(must(waiting.slots[0], 'slot').dataFolder);
    expect(identity?.members.map(({ id }) => id)).toEqual([1, 2, 3, 5]);
  });

  rule('coordinator.wipedMemberReadmitted', 'never gives a lost folder its old id back [R51]', async () => {
    raft.configuration = membershipOf([1, 2, 3]).configuration;
    await waiting.stopOne(0);
    await rm(must(waiting.slots[0], 'slot').dataFolder, { recursive: true });
    await waiting.startOne(0);
    listWaiting('voter');
    await coded('MEMBERSHIP_UNSAFE', add());
    expect(waiting.at(0).status().clusterId).toBe('');
    // A learner that the leader of today never heard may have acknowledged something to the last one.
    raft.configuration = membershipOf([1, 2, 3]).configuration;
    listWaiting('learner');
    expect(await add()).toMatchObject({ memberId: 5n });
    expect(waiting.at(0).status()).toMatchObject({ memberId: 5n });
  });
});

describe('removing and promoting', () => {
  test('an id that was never given out is MEMBER_UNKNOWN; one that has gone is gone', async () => {
    await coded('MEMBER_UNKNOWN', membership.remove({ format: 1, memberId: 9n }));
    await coded('MEMBER_UNKNOWN', membership.promote({ format: 1, memberId: 9n, replaces: 0n }));
    expect(await membership.remove({ format: 1, memberId: 3n })).toMatchObject({ changed: true });
    expect(await membership.remove({ format: 1, memberId: 3n })).toMatchObject({ changed: false });
    const promoted = membership.promote({ format: 1, memberId: 3n, replaces: 0n });
    await expect(promoted).rejects.toMatchObject({ code: 'MEMBER_REMOVED' });
    expect(raft.changes).toEqual([{ expected: 0, remove: [3] }]);
  });

  test('promotes and removes in one step, once', async () => {
    listWaiting('learner');
    const replace = () => membership.promote({ format: 1, memberId: 4n, replaces: 3n });
    expect(await replace()).toMatchObject({ memberId: 4n, changed: true });
    expect(raft.changes).toEqual([{ expected: 0, promote: [4], remove: [3] }]);
  });

  test('a leader that is to go hands over first, and sends the caller on', async () => {
    await expect(membership.remove({ format: 1, memberId: 1n })).rejects.toMatchObject({
      code: 'NOT_LEADER',
      details: { leader: memberOf(2).clientAddress },
    });
    expect(raft.changes).toEqual([]);
  });

  rule('coordinator.handsOverUnchecked', 'a leader keeps the lead when it cannot be removed', async () => {
    raft.unsafe = true;
    raft.leads = 1;
    const refused = { code: 'MEMBERSHIP_UNSAFE' };
    await expect(membership.remove({ format: 1, memberId: 1n })).rejects.toMatchObject(refused);
    const replaced = membership.promote({ format: 1, memberId: 2n, replaces: 1n });
    await expect(replaced).rejects.toMatchObject(refused);
    expect(raft.leads).toBe(1);
  });
});
