import { describe, expect, test } from 'vitest';
import { isTidemarkError, memberId, must } from '../../../src/base/index.ts';
import type { Configuration, MembershipChange } from '../../../src/raft/index.ts';
import { rule } from '../../support/rule.ts';
import { memberOf } from '../support/membership.ts';
import { SHORT_LOGS, SmallCluster, type SmallMember } from '../support/small-cluster.ts';

const M = memberId;

async function started(size: number): Promise<SmallCluster> {
  const cluster = new SmallCluster(size, SHORT_LOGS);
  await cluster.startAll();
  await cluster.led();
  return cluster;
}

const statusOf = ({ driver }: SmallMember) => must(driver, 'a running member').status();
const voters = ({ members }: Configuration): readonly number[] => {
  return members.flatMap(({ id, role }) => (role === 'voter' ? [id] : []));
};

/** Asks whoever leads until the change is made; a learner may need some time to catch up. */
async function change(cluster: SmallCluster, wanted: MembershipChange): Promise<Configuration> {
  for (;;) {
    const { driver } = await cluster.led();
    let answer: Configuration | undefined;
    let refused: unknown;
    must(driver, 'a leader')
      .changeMembership(wanted)
      .then(
        (configuration) => (answer = configuration),
        (error: unknown) => (refused = error),
      );
    await cluster.until(() => answer !== undefined || refused !== undefined);
    if (answer !== undefined) return answer;
    if (!isTidemarkError(refused, 'LEARNER_BEHIND', 'MEMBERSHIP_CHANGE_PENDING')) throw refused;
    await cluster.advance(100);
  }
}

async function add(cluster: SmallCluster, id: number): Promise<SmallMember> {
  const { peerAddress, clientAddress } = memberOf(id);
  const { members } = await change(cluster, { add: [{ peerAddress, clientAddress }] });
  expect(members.at(-1)).toMatchObject({ id, role: 'learner' });
  return cluster.join(id);
}

describe('a cluster', () => {
  test('grows from one to three, by snapshots, and outlives its first member', async () => {
    const cluster = await started(1);
    await cluster.write(60);
    for (const id of [2, 3]) await add(cluster, id);
    const { members, outgoing } = await change(cluster, { promote: [M(2), M(3)] });
    expect([voters({ members } as Configuration), outgoing]).toEqual([[1, 2, 3], []]);
    await cluster.write(5);
    await cluster.agree();
    for (const { stateDisk } of cluster.members.slice(1)) expect(stateDisk.installs).toBe(1);
    cluster.crash(must(cluster.members[0], 'the first member'));
    await cluster.until(() => cluster.leader() !== undefined);
    await cluster.write(5);
  });

  test('replaces a dead member by another, in one change [R53]', async () => {
    const cluster = await started(3);
    await cluster.write(5);
    const dead = must(
      cluster.members.find((member) => member !== cluster.leader()),
      'a follower',
    );
    cluster.crash(dead);
    await add(cluster, 4);
    const { members, index } = await change(cluster, { promote: [M(4)], remove: [dead.id] });
    expect(members.map(({ id }) => id)).toEqual([1, 2, 3, 4].filter((id) => id !== dead.id));
    await cluster.start(dead);
    await cluster.until(() => statusOf(dead).removed);
    const { configuration, leading } = statusOf(await cluster.led());
    expect([configuration.index, leading, statusOf(dead).role]).toEqual([index, true, 'follower']);
  });

  test('lets its leader go: another leads within an election, and the one that went knows it', async () => {
    const cluster = await started(3);
    await cluster.write(5);
    const leader = await cluster.led();
    const { term } = statusOf(leader);
    const began = cluster.loop.nowMs;
    const answer = await change(cluster, { remove: [leader.id] });
    expect(voters(answer)).toEqual([1, 2, 3].filter((id) => id !== leader.id));
    expect(statusOf(leader)).toMatchObject({ removed: true, role: 'follower' });
    const next = await cluster.led();
    expect(cluster.loop.nowMs - began).toBeLessThan(500);
    expect([next === leader, statusOf(next).term]).toEqual([false, term + 1]);
    await cluster.write(5);
    await cluster.advance(10_000);
    expect(statusOf(next)).toMatchObject({ leading: true, term: term + 1 });
  });

  test('of one voter: nobody can be taken away, and a learner that does not answer is none', async () => {
    const cluster = await started(1);
    const { peerAddress, clientAddress } = memberOf(2);
    await change(cluster, { add: [{ peerAddress, clientAddress }] });
    const { driver } = await cluster.led();
    const refused = async (wanted: MembershipChange): Promise<unknown> => {
      const error: unknown = await must(driver, 'leader')
        .changeMembership(wanted)
        .catch((caught: unknown) => caught);
      return isTidemarkError(error) ? error.code : error;
    };
    expect(await refused({ remove: [M(1)] })).toBe('MEMBERSHIP_UNSAFE');
    expect(await refused({ promote: [M(2)] })).toBe('LEARNER_BEHIND');
    await cluster.write(3);
  });

  test('knows its members after a restart of all, from a log that was compacted', async () => {
    const cluster = await started(1);
    for (const id of [2, 3]) await add(cluster, id);
    await change(cluster, { promote: [M(2), M(3)] });
    await cluster.write(60);
    await cluster.agree();
    await cluster.until(() =>
      cluster.members.every(({ driver }) => must(driver, 'driver').core.baseIndex > 30),
    );
    for (const member of cluster.members) cluster.crash(member);
    await cluster.startAll();
    await cluster.write(3);
    for (const member of cluster.members) expect(voters(statusOf(member).configuration)).toEqual([1, 2, 3]);
  });
});

test('proposals around a change are each answered with their own reply', async () => {
  const cluster = await started(1);
  const { driver } = await cluster.led();
  const leader = must(driver, 'a leader');
  const { peerAddress, clientAddress } = memberOf(2);
  const answers: string[] = [];
  const propose = (text: string): void => {
    void leader.propose(Buffer.from(text)).then(({ reply }) => answers.push(Buffer.from(reply).toString()));
  };
  propose('a');
  await cluster.advance(0.1);
  propose('b');
  void leader.changeMembership({ add: [{ peerAddress, clientAddress }] }).then(() => answers.push('changed'));
  propose('c');
  await cluster.advance(0.1);
  propose('d');
  await cluster.until(() => answers.length === 5);
  expect(answers.filter((answer) => answer !== 'changed')).toEqual(['a', 'b', 'c', 'd']);
});

describe('a member that joins', () => {
  rule('raft.installUnannounced', 'keeps what a snapshot said although its process ends within', async () => {
    const cluster = await started(1);
    await cluster.write(60);
    const joined = await add(cluster, 2);
    while (joined.stateDisk.installs === 0) await cluster.advance(0.25);
    cluster.crash(joined);
    await cluster.start(joined);
    expect(statusOf(joined).configuration.members.map(({ id }) => id)).toEqual([1, 2]);
    await change(cluster, { promote: [M(2)] });
    await cluster.write(3);
    await cluster.agree();
  });

  test('and goes again before anybody told it anything campaigns for nothing', async () => {
    const cluster = await started(1);
    const joined = await cluster.join(2);
    await cluster.advance(5_000);
    expect(statusOf(joined)).toMatchObject({ term: 0, role: 'follower', leaderId: undefined });
  });
});
