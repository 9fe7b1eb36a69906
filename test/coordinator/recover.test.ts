import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { must, type ClusterId } from '../../src/base/index.ts';
import { recoverCluster } from '../../src/coordinator/index.ts';
import { readIdentity } from '../../src/coordinator/members/identity.ts';
import { openStateMachine } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { appendWrite } from './append-write.ts';
import { TestCluster } from './cluster-harness.ts';

let folder: string;
let cluster: TestCluster | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-recover-'));
});

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
  await rm(folder, { recursive: true });
});

const stateOf = async (dataFolder: string, clusterId: ClusterId): Promise<string> => {
  const state = await openStateMachine({ folder: join(dataFolder, 'state'), clusterId });
  const { digest } = state.view();
  await state.close();
  return digest;
};

describe('a cluster recovered from the one member that is left', () => {
  rule('backup.recoverWithoutTail', 'has its whole log, also what may not be committed', async () => {
    cluster = await TestCluster.formed(1);
    const slot = must(cluster.slots[0], 'slot');
    await cluster.client().kv.put('acknowledged', 'x');
    await cluster.stopOne(0);
    const lastIndex = await appendWrite(slot.dataFolder, 'default/in doubt');
    const { clusterId } = must(await readIdentity(slot.dataFolder), 'an identity');
    const before = await stateOf(slot.dataFolder, clusterId);
    const into = join(folder, 'new');
    const recovered = await recoverCluster({ dataFolder: slot.dataFolder, into, own: {} });
    expect(recovered).toMatchObject({ lastIndex, oldClusterId: clusterId });
    expect(recovered.index).toBeLessThan(lastIndex);
    expect(await stateOf(slot.dataFolder, clusterId)).toBe(before);
    await cluster.startOne(0, { dataFolder: into });
    await cluster.leader();
    const { kv } = cluster.client();
    expect(await kv.get('acknowledged')).toBeDefined();
    expect(await kv.get('in doubt')).toBeDefined();
    expect((await kv.put('new', 'x')).revision).toBeGreaterThan(2 ** 32);
  });

  it('goes on alone beside old members, and takes new ones [R55]', async () => {
    cluster = await TestCluster.formed(3);
    const leader = await cluster.leader();
    const { kv } = cluster.client();
    for (let n = 0; n < 30; n++) await kv.put(`key${n}`, `${n}`);
    const [left, old, fresh] = [leader, (leader + 1) % 3, (leader + 2) % 3];
    await cluster.stopOne(fresh);
    await cluster.stopOne(old);
    await cluster.stopOne(left);
    const { dataFolder, clientAddress } = must(cluster.slots[left], 'slot');
    const into = join(folder, 'new');
    const { clusterId } = await recoverCluster({ dataFolder, into, own: {} });
    await cluster.startOne(left, { dataFolder: into });
    await cluster.startOne(old);
    const client = cluster.client({ endpoints: [clientAddress] });
    for (let n = 0; n < 30; n++) expect(await client.kv.get(`key${n}`)).toBeDefined();
    expect(cluster.at(old).status()).toMatchObject({ leaderId: 0n });
    const joining = must(cluster.slots[fresh], 'slot');
    await rm(joining.dataFolder, { recursive: true });
    await cluster.startOne(fresh);
    await client.membership.add(joining);
    const { members } = await client.members();
    expect(members.map(({ memberId, role }) => [memberId, role])).toEqual([
      [1n, 'leader'],
      [2n, 'voter'],
    ]);
    await client.kv.put('key0', 'newer');
    const there = cluster.client({ endpoints: [joining.clientAddress] });
    expect(Buffer.from(must(await there.kv.get('key0'), 'key').value).toString()).toBe('newer');
    expect(cluster.at(fresh).status().clusterId).toBe(clusterId);
    // The old member still asks for votes of whoever is at its peers' addresses.
    expect(cluster.at(left).status()).toMatchObject({ role: 'leader', clusterId });
  });

  it('is not made of a folder that never ran, or runs', async () => {
    cluster = await TestCluster.formed(1);
    const { dataFolder } = must(cluster.slots[0], 'slot');
    const into = join(folder, 'new');
    await expect(recoverCluster({ dataFolder, into, own: {} })).rejects.toMatchObject({
      code: 'DATA_IN_USE',
    });
    const empty = recoverCluster({ dataFolder: join(folder, 'none'), into, own: {} });
    await expect(empty).rejects.toMatchObject({ code: 'NOT_INITIALIZED' });
    await cluster.stopOne(0);
    const mixed = join(folder, 'mixed');
    await cp(dataFolder, mixed, { recursive: true });
    await rm(join(mixed, 'log'), { recursive: true });
    await expect(recoverCluster({ dataFolder: mixed, into, own: {} })).rejects.toMatchObject({
      code: 'DATA_CORRUPT',
    });
  });
});
