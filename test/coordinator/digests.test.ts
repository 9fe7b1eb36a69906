import { afterEach, describe, expect, test } from 'vitest';
import { must } from '../../src/base/index.ts';
import { MemoryState } from '../../src/statemachine/index.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';
import { TestCluster } from './cluster-harness.ts';

let cluster: TestCluster | undefined;
const takeChanges = MemoryState.prototype.takeChanges;

afterEach(async () => {
  MemoryState.prototype.takeChanges = takeChanges;
  await cluster?.stop();
  cluster = undefined;
});

/** Flips the lowest bit of a number in the memory of the first members that apply something. */
function flipBits(members: number): void {
  const hit = new Set<MemoryState>();
  MemoryState.prototype.takeChanges = function flipped(this: MemoryState) {
    if (hit.size < members && !hit.has(this) && this.appliedIndex > 0) {
      hit.add(this);
      this.setCluster({ ...this.cluster, grants: this.cluster.grants + hit.size });
    }
    return takeChanges.call(this);
  };
}

/** A change that every member applies: a session is opened for it. */
const change = (): Promise<unknown> => must(cluster, 'a cluster').client().retryTasks();

describe('digests of the members', () => {
  test('are equal; members and digests are listed, also through one endpoint; the lead moves', async () => {
    cluster = await TestCluster.formed(3);
    await change();
    const client = cluster.client({ endpoints: cluster.addresses.slice(0, 1) });
    const { members, nextMemberId } = await client.members();
    expect(nextMemberId).toBe(4n);
    expect(members.map(({ memberId }) => memberId)).toEqual([1n, 2n, 3n]);
    expect(members.filter(({ status }) => status?.role === 'leader')).toHaveLength(1);
    expect(members.every(({ known, status }) => known !== undefined && status?.version === 'test')).toBe(
      true,
    );
    expect(members.every(({ status }) => (status?.diskP99Us ?? 0n) > 0n)).toBe(true);
    const digests = await client.digests();
    expect(digests.map(({ digest }) => digest?.verdict)).toEqual(['equal', 'equal', 'equal']);
    const target = ((await cluster.leader()) + 1) % 3;
    expect(await client.transferLeader(target + 1)).toBe(BigInt(target + 1));
    expect(await cluster.leader()).toBe(target);
    await expect(client.transferLeader(99)).rejects.toMatchObject({ code: 'TRANSFER_FAILED' });
    await cluster.stopOne((target + 1) % 3);
    const left = await cluster.client({ endpoints: [cluster.at(target).clientAddress] }).members();
    expect(left.members.filter(({ error }) => error !== undefined)).toHaveLength(1);
  });

  rule('coordinator.digestsNotCompared', 'a flipped bit in one memory ends that member [R73]', async () => {
    cluster = await TestCluster.formed(3);
    try {
      flipBits(1);
      await change();
      const found = await eventually(() => cluster?.fatal[0] ?? false, {
        withinMs: 4_000,
        what: 'a member that ends',
      });
      expect(found).toMatchObject({
        code: 'STATE_DIVERGED',
        details: { index: expect.stringMatching(/^\d+$/) },
      });
      expect(cluster.fatal).toHaveLength(1);
    } finally {
      MemoryState.prototype.takeChanges = takeChanges;
      await cluster.stop();
      cluster = undefined;
    }
  });

  test('that differ on all members: nobody ends, the alarm is raised, nothing is decided', async () => {
    cluster = await TestCluster.formed(3);
    flipBits(3);
    await change();
    const client = cluster.client();
    await eventually(
      async () => (await client.digests()).every(({ digest }) => digest?.verdict === 'split'),
      { withinMs: 6_000, what: 'a split on every member' },
    );
    expect(cluster.fatal).toEqual([]);
    const metrics = await fetch(`http://${must(cluster.at(0).httpAddress, 'http')}/metrics`);
    expect(await metrics.text()).toMatch(/^tidemark_state_differs\{?.*\}? 1$/m);
  });
});
