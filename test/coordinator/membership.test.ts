/** Members come, go and are replaced in running clusters, over real connections and real logs. */
import { rm } from 'node:fs/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { LIMITS, clusterId, memberId, must } from '../../src/base/index.ts';
import { armFailpoint, disarmFailpoint } from '../../src/base/test-build-active.ts';
import type { TidemarkClient } from '../../src/client/index.ts';
import { eventually } from '../support/eventually.ts';
import { writeIdentity } from '../../src/coordinator/members/identity.ts';
import { TestCluster } from './cluster-harness.ts';

let cluster: TestCluster | undefined;
/** Codes with which coordinators are expected to end. */
let ends: string[] = [];

afterEach(async () => {
  disarmFailpoint('coordinator.beforeJoin');
  const fatal = cluster?.fatal ?? [];
  await cluster?.stop();
  cluster = undefined;
  const expected = ends;
  ends = [];
  expect(fatal.map((error) => (error as { code?: string }).code)).toEqual(expected);
});

interface Writing {
  /** Sequence numbers of the writes that were acknowledged. */
  readonly acknowledged: number[];
  end(): Promise<void>;
}

/** Writes key after key, one at a time, until told to end; what fails is not counted. */
function writeOn(client: TidemarkClient): Writing {
  const acknowledged: number[] = [];
  const ending = new AbortController();
  const running = (async () => {
    for (let at = 1; !ending.signal.aborted; at++) {
      try {
        await client.kv.put(`k${at}`, String(at));
        acknowledged.push(at);
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/NO_LEADER|OUTCOME_UNKNOWN/) });
      }
    }
  })();
  return {
    acknowledged,
    end: async () => {
      ending.abort();
      await running;
    },
  };
}

async function expectKept(client: TidemarkClient, { acknowledged }: Writing): Promise<void> {
  expect(acknowledged.length).toBeGreaterThan(0);
  const found = await Promise.all(acknowledged.map((at) => client.kv.get(`k${at}`)));
  expect(found.map((one) => Buffer.from(one?.value ?? []).toString())).toEqual(acknowledged.map(String));
}

/** Waits until the coordinator at this position has ended because it was removed. */
async function removedEnds(position: number): Promise<void> {
  const { fatal } = must(cluster, 'cluster');
  await eventually(() => fatal.length > 0, { withinMs: 10_000, what: 'the removed member to end' });
  ends = ['MEMBER_REMOVED'];
  expect(fatal).toMatchObject([{ code: 'MEMBER_REMOVED', exitCode: 78 }]);
  await cluster?.stopOne(position);
}

describe('a cluster of three', () => {
  test('takes a fourth member and a fifth, added at once, while a client writes', async () => {
    cluster = await TestCluster.formedWithSpare(3);
    const fifth = await cluster.addSpare();
    const client = cluster.client();
    const writing = writeOn(client);
    const added = await Promise.all([
      client.membership.add(cluster.advertised(3)),
      client.membership.add(cluster.advertised(fifth)),
    ]);
    await writing.end();
    expect(added.map(({ memberId }) => memberId).sort()).toEqual([4n, 5n]);
    const { members, nextMemberId } = await client.members();
    expect(members.map(({ role }) => role).filter((role) => role !== 'leader')).toEqual(
      Array.from({ length: 4 }, () => 'voter'),
    );
    expect(nextMemberId).toBe(6n);
    await expectKept(client, writing);
    // The new ones are asked like the others, and one of them may lead.
    expect(await client.transferLeader(5)).toBe(5n);
    await expectKept(cluster.client({ endpoints: [cluster.advertised(fifth).clientAddress] }), writing);
  });

  test('replaces a killed member in one step under writes; no id comes twice [R51] [R53]', async () => {
    cluster = await TestCluster.formedWithSpare(3);
    const client = cluster.client();
    const leader = await cluster.leader();
    const dead = (leader + 1) % 3;
    const writing = writeOn(client);
    await cluster.stopOne(dead);
    expect(await client.membership.replace(dead + 1, cluster.advertised(3))).toMatchObject({ memberId: 4n });
    await writing.end();
    const { members } = await client.members();
    expect(members.map(({ memberId }) => Number(memberId))).toEqual(
      [1, 2, 3, 4].filter((id) => id !== dead + 1),
    );
    expect(members.map(({ role }) => role).sort()).toEqual(['leader', 'voter', 'voter']);
    await expectKept(client, writing);
    // The member that was away comes back, hears that it is none, and never starts on its folder again.
    await cluster.startOne(dead);
    await removedEnds(dead);
    await expect(cluster.startOne(dead)).rejects.toMatchObject({ code: 'MEMBER_REMOVED' });
    // On an empty folder the same machine is somebody new.
    await rm(must(cluster.slots[dead], 'slot').dataFolder, { recursive: true });
    await cluster.startOne(dead);
    const learner = await client.membership.add(cluster.advertised(dead), { learner: true });
    expect(learner).toMatchObject({ memberId: 5n });
    const after = await client.members();
    expect(after.members.find(({ memberId }) => memberId === 5n)).toMatchObject({ role: 'learner' });
  });

  test('removes its leader: the lead moves first, the removed process ends [R50]', async () => {
    cluster = await TestCluster.formed(3);
    const client = cluster.client();
    const leader = await cluster.leader();
    expect(await client.membership.remove(leader + 1)).toMatchObject({ changed: true });
    await removedEnds(leader);
    const { members } = await client.members();
    expect(members.map(({ role }) => role).sort()).toEqual(['leader', 'voter']);
    expect(await client.membership.remove(leader + 1)).toMatchObject({ changed: false });
    await client.kv.put('after', 'two are left');
  });

  test('finishes an add that broke off between the commit and the admission', async () => {
    cluster = await TestCluster.formedWithSpare(3);
    const client = cluster.client();
    armFailpoint({ name: 'coordinator.beforeJoin', action: 'error' });
    await expect(client.membership.add(cluster.advertised(3))).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('member 4 is a learner now'),
    });
    disarmFailpoint('coordinator.beforeJoin');
    const listed = (await client.members()).members;
    expect(listed.find(({ memberId }) => memberId === 4n)).toMatchObject({ role: 'learner' });
    expect(cluster.at(3).status().clusterId).toBe('');
    // Also by the next leader; it cannot know that nobody was admitted, so the id is a new one.
    await client.transferLeader();
    expect(await client.membership.add(cluster.advertised(3))).toMatchObject({ memberId: 5n });
    const { members } = await client.members();
    expect(members.map(({ memberId }) => memberId)).not.toContain(4n);
    expect(members.find(({ memberId }) => memberId === 5n)).toMatchObject({ role: 'voter' });
  });

  test('tells a learner that never heard of it that it was removed', async () => {
    cluster = await TestCluster.formedWithSpare(3);
    const client = cluster.client();
    armFailpoint({ name: 'coordinator.beforeJoin', action: 'error' });
    await expect(client.membership.add(cluster.advertised(3))).rejects.toMatchObject({ code: 'INTERNAL' });
    disarmFailpoint('coordinator.beforeJoin');
    // Admitted, and then away until it was removed: its log is empty.
    await cluster.stopOne(3);
    const members = cluster.slots.map((_, at) => ({
      id: memberId(at + 1),
      ...must(cluster, 'cluster').advertised(at),
    }));
    const id = clusterId(must(cluster.at(0), 'member').status().clusterId);
    const own = { clusterId: id, memberId: memberId(4), members };
    const folder = must(cluster.slots[3], 'slot').dataFolder;
    await writeIdentity(folder, { ...own, joined: true, started: false, removed: false });
    await client.membership.remove(4);
    await cluster.startOne(3);
    const { fatal } = cluster;
    await eventually(() => fatal.length > 0, { withinMs: 5_000, what: 'the removed learner to end' });
    ends = ['MEMBER_REMOVED'];
  });

  test('refuses what would leave no quorum that answers [R53]', async () => {
    cluster = await TestCluster.formedWithSpare(3);
    const client = cluster.client();
    const leader = await cluster.leader();
    const [dead, alive] = [(leader + 1) % 3, (leader + 2) % 3];
    await cluster.stopOne(dead);
    const electionMs = BigInt(LIMITS.raftTickMs * LIMITS.raftElectionTicks);
    const silentMs = (): bigint | undefined =>
      cluster
        ?.at(leader)
        .status()
        .members.find(({ memberId }) => memberId === BigInt(dead + 1))?.silentMs;
    await eventually(() => (silentMs() ?? 0n) > electionMs, { withinMs: 5_000, what: 'the silence' });
    await expect(client.membership.remove(alive + 1)).rejects.toMatchObject({ code: 'MEMBERSHIP_UNSAFE' });
    await expect(client.membership.remove(leader + 1)).rejects.toMatchObject({ code: 'MEMBERSHIP_UNSAFE' });
    expect(cluster.at(leader).status().role).toBe('leader');
    expect((await client.members()).members).toHaveLength(3);
    const stopped = cluster.advertised(3);
    await cluster.stopOne(3);
    await expect(client.membership.add(stopped)).rejects.toMatchObject({ code: 'MEMBER_UNREACHABLE' });
    expect(await client.membership.remove(dead + 1)).toMatchObject({ changed: true });
  });
});
