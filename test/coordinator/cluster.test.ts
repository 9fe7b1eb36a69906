import { afterEach, describe, expect, test } from 'vitest';
import { must } from '../../src/base/index.ts';
import { eventually } from '../support/eventually.ts';
import { TestCluster } from './cluster-harness.ts';

let cluster: TestCluster | undefined;

afterEach(async () => {
  const { fatal } = must(cluster, 'cluster');
  await cluster?.stop();
  cluster = undefined;
  expect(fatal).toEqual([]);
});

describe('a cluster of three', () => {
  test('begins by one init, elects a leader, and every node says the same of it', async () => {
    cluster = await TestCluster.formed(3);
    const statuses = cluster.slots.map(({ running }) => must(running, 'running').status());
    expect(new Set(statuses.map(({ clusterId }) => clusterId)).size).toBe(1);
    expect(statuses[0]?.clusterId).toMatch(/^[0-9a-f]{32}$/);
    expect(statuses.map(({ memberId }) => memberId)).toEqual([1n, 2n, 3n]);
    expect(new Set(statuses.map(({ leaderClientAddress }) => leaderClientAddress)).size).toBe(1);
  });

  test('answers reads and changes through any endpoint, and goes on when the leader stops', async () => {
    cluster = await TestCluster.formed(3);
    const client = cluster.client();
    expect(await client.retryTasks()).toBe(0);
    const first = await cluster.leader();
    const term = cluster.at(first).status().term;
    await cluster.stopOne(first);
    expect(await client.retryTasks()).toBe(0);
    expect(await client.listExecutors()).toEqual([]);
    const second = await cluster.leader();
    expect(second).not.toBe(first);
    expect(cluster.at(second).status().term).toBeGreaterThan(term);
    // The one that was stopped comes back on its folder and catches up to the same state.
    await cluster.startOne(first);
    const { appliedIndex, digest } = cluster.at(second).status();
    await eventually(
      () => {
        const status = must(cluster, 'cluster').at(first).status();
        return status.appliedIndex >= appliedIndex && status.digest === digest;
      },
      { withinMs: 10_000, what: 'the returned coordinator at the same digest' },
    );
  });
});
