import { randomUUID } from 'node:crypto';
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { clusterId, isTidemarkError, logIndex, memberId, must } from '../../src/base/index.ts';
import { armFailpoint, disarmFailpoint, onFailpointHit } from '../../src/base/test-build-active.ts';
import {
  checkSnapshotFile,
  snapshotBytes,
  snapshotFileChunks,
  writeSnapshotFile,
} from '../../src/backup/index.ts';
import type { TidemarkClient } from '../../src/client/index.ts';
import {
  inspectSnapshotFile,
  restoreCluster,
  startCoordinator,
  stoppedMemberSnapshot,
  type CoordinatorOptions,
  type OfflineEnd,
  type RestoredMember,
} from '../../src/coordinator/index.ts';
import { createLogger } from '../../src/ops/index.ts';
import { readRaftFolder } from '../../src/raft/index.ts';
import { insecureCredentials } from '../../src/wire/index.ts';
import { runCli } from '../cli/run-cli.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';
import { appendWrite } from './append-write.ts';
import { TestCluster } from './cluster-harness.ts';

const OWN = { peerAddress: '127.0.0.1:7301', clientAddress: '127.0.0.1:7401' };

let folder: string;
let cluster: TestCluster | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-backup-'));
});

afterEach(async () => {
  disarmFailpoint('backup.beforeIdentity');
  const fatal = cluster?.fatal ?? [];
  await cluster?.stop();
  cluster = undefined;
  await rm(folder, { recursive: true });
  expect(fatal).toEqual([]);
});

const notBehind = (end: OfflineEnd): never => {
  throw new Error(`the log goes on to ${end.lastIndex}`);
};

const inFolder = (name: string): string => join(folder, name);

async function save(client: TidemarkClient, name: string): Promise<string> {
  const path = inFolder(name);
  await writeSnapshotFile(path, client.snapshot());
  return path;
}

/** A coordinator that says that it is the member at {@link OWN}. */
const optionsOn = (dataFolder: string): CoordinatorOptions => ({
  dataFolder,
  peer: { listen: '127.0.0.1:0', advertise: OWN.peerAddress },
  client: { listen: '127.0.0.1:0', advertise: OWN.clientAddress },
  credentials: insecureCredentials(),
  log: createLogger({ role: 'other', level: 'silent' }),
  version: 'test',
  onFatal: (error) => {
    throw error;
  },
});

/** A backup of a cluster of one that held some keys, and the folder of its stopped member. */
let file: string;
let oldFolder: string;

beforeAll(async () => {
  const root = await mkdtemp(join(tmpdir(), 'tidemark-backup-of-'));
  file = join(root, 'backup');
  oldFolder = join(root, 'old');
  const old = await TestCluster.formed(1);
  const client = old.client();
  for (let n = 0; n < 20; n++) await client.kv.put(`key${n}`, `value${n}`);
  const reading = client.snapshot()[Symbol.asyncIterator]();
  await reading.next();
  await reading.return?.();
  // One is given out at a time: it is again when a reader has gone.
  await eventually(() => writeSnapshotFile(file, client.snapshot()).then(() => true, isBusy), {
    withinMs: 5_000,
    what: 'a backup',
  });
  await old.stopOne(0);
  await cp(must(old.slots[0], 'slot').dataFolder, oldFolder, { recursive: true });
  await old.stop();
});

afterAll(async () => {
  await rm(dirname(file), { recursive: true });
});

function isBusy(error: unknown): false {
  if (isTidemarkError(error, 'OVERLOADED')) return false;
  throw error instanceof Error ? error : new Error(String(error));
}

/** Starts what was restored, as the only member of its cluster, and answers a client of it. */
async function started(from: string): Promise<{ readonly restored: RestoredMember; client: TidemarkClient }> {
  await cluster?.stop();
  cluster = await TestCluster.start(1);
  const { peerAddress, clientAddress, dataFolder } = must(cluster.slots[0], 'slot');
  await cluster.stopOne(0);
  await rm(dataFolder, { recursive: true });
  const restored = await restoreCluster({ file: from, dataFolder, own: { peerAddress, clientAddress } });
  await cluster.startOne(0);
  await cluster.leader();
  return { restored, client: cluster.client() };
}

describe('a backup of a running cluster', () => {
  it('is one cut of what was acknowledged, though writes go on [R38]', async () => {
    cluster = await TestCluster.formed(3);
    const client = cluster.client();
    const going = { on: true };
    const writer = async (): Promise<void> => {
      for (let n = 0; going.on; n++) await client.kv.put(`key${n % 50}`, `value${n}`);
    };
    const writers = [writer(), writer()];
    const files: string[] = [];
    for (const address of cluster.addresses) {
      await client.kv.put('before', address);
      const saved = await save(cluster.client({ endpoints: [address] }), `${files.length}`);
      files.push(saved);
      // Every row was checked, and their sum.
      expect((await inspectSnapshotFile(saved)).keys).toBeGreaterThan(1);
    }
    going.on = false;
    await Promise.all(writers);
    const last = cluster.addresses[2];
    const { kv } = (await started(must(files[2], 'the last backup'))).client;
    expect(Buffer.from(must(await kv.get('before'), 'key').value).toString()).toBe(last);
  });

  it('is the same from every member, with the digest that they have', async () => {
    cluster = await TestCluster.formed(3);
    const client = cluster.client();
    await client.kv.put('a', 'one');
    const members = await eventually(
      async () => {
        const told = await client.digests();
        const digests = new Set(told.map(({ digest }) => `${digest?.appliedIndex} ${digest?.digest}`));
        return digests.size === 1 ? [...digests] : false;
      },
      { withinMs: 5_000, what: 'members that stand at one entry' },
    );
    for (const [position, address] of cluster.addresses.entries()) {
      const saved = await save(cluster.client({ endpoints: [address] }), `${position}`);
      const { index, digest } = await inspectSnapshotFile(saved);
      expect([`${index} ${digest}`]).toEqual(members);
    }
  });

  it('of a stopped member holds what it had applied', async () => {
    const path = inFolder('stopped');
    await writeSnapshotFile(path, stoppedMemberSnapshot(oldFolder, 'test', notBehind));
    const { index, ...stopped } = await inspectSnapshotFile(path);
    const running = await inspectSnapshotFile(file);
    expect(stopped).toMatchObject({ keys: 20, clusterId: running.clusterId });
    expect(index).toBeGreaterThanOrEqual(running.index);
    const none = stoppedMemberSnapshot(inFolder('empty'), 'test', notBehind);
    await expect(writeSnapshotFile(inFolder('none'), none)).rejects.toMatchObject({
      code: 'NOT_INITIALIZED',
    });
  });

  rule('backup.tailUntold', 'of a stopped member says so if its log goes on', async () => {
    const member = await mkdtemp(join(folder, 'member-'));
    await cp(oldFolder, member, { recursive: true });
    const lastIndex = await appendWrite(member, 'default/maybe acknowledged');
    const behind: OfflineEnd[] = [];
    const chunks = stoppedMemberSnapshot(member, 'test', (end) => behind.push(end));
    await writeSnapshotFile(join(member, 'backup'), chunks);
    const { index } = await inspectSnapshotFile(join(member, 'backup'));
    expect(behind).toEqual([{ index, lastIndex }]);
    expect(index).toBeLessThan(lastIndex);
  });
});

describe('a cluster restored from a backup', () => {
  it('has its keys, other members and another id, and goes on', async () => {
    const { restored, client } = await started(file);
    expect(restored.clusterId).not.toBe(restored.oldClusterId);
    const [member, ...others] = (await client.members()).members;
    expect([member?.memberId, others]).toEqual([1n, []]);
    expect(member?.status?.clusterId).toBe(restored.clusterId);
    for (let n = 0; n < 20; n++) {
      expect(Buffer.from(must(await client.kv.get(`key${n}`), 'key').value).toString()).toBe(`value${n}`);
    }
    const { revision } = await client.kv.put('new', 'value');
    expect(revision).toBeGreaterThan(2 ** 32);
    // Once more: what was restored can be saved and restored like any other.
    const again = await started(await save(client, 'second'));
    expect(must(await again.client.kv.get('new'), 'key').revision).toBe(revision);
    expect(again.restored.term).toBeGreaterThan(restored.term + 4_095);
  });

  rule('backup.termNotRaised', 'is in a term that the old one cannot have reached', async () => {
    const { term: used } = await inspectSnapshotFile(file);
    const { restored, client } = await started(file);
    const minutes = Math.floor((Date.now() - Date.UTC(2026, 0, 1)) / 60_000);
    expect(restored.term).toBeGreaterThanOrEqual(Math.max(used + 4_096, minutes - 1));
    const [member] = (await client.members()).members;
    expect(member?.status?.term).toBeGreaterThan(BigInt(restored.term));
  });

  rule('backup.clusterIdKept', 'is another cluster than the old one [R55]', async () => {
    const { clusterId } = await inspectSnapshotFile(file);
    const restored = await restoreCluster({ file, dataFolder: inFolder('new'), own: OWN });
    expect(restored.clusterId).not.toBe(clusterId);
    // The old log under the new identity, as if someone had mixed the folders.
    await rm(join(inFolder('new'), 'log'), { recursive: true });
    await cp(join(oldFolder, 'log'), join(inFolder('new'), 'log'), { recursive: true });
    const mixed = startCoordinator(optionsOn(inFolder('new')));
    await expect(mixed).rejects.toMatchObject({ code: 'DATA_OF_OTHER_CLUSTER' });
  });
});

describe('a cluster of three restored from one file', () => {
  const three = [1, 2, 3].map((n) => ({
    peerAddress: `127.0.0.1:731${n}`,
    clientAddress: `127.0.0.1:741${n}`,
  }));
  const restoreAt = (at: number, name: string, restoreId?: string): Promise<RestoredMember> => {
    const own = must(three[at], 'member');
    return restoreCluster({ file, dataFolder: inFolder(name), own, members: three, restoreId });
  };

  it('elects a leader, has the keys on each member, and outlives the loss of one', async () => {
    cluster = await TestCluster.start(3);
    const members = cluster.slots.map(({ peerAddress, clientAddress }) => ({ peerAddress, clientAddress }));
    const list = members.map(({ peerAddress, clientAddress }) => `${peerAddress}/${clientAddress}`).join();
    let shared = ['--members', list];
    for (const [at, { dataFolder, peerAddress, clientAddress }] of cluster.slots.entries()) {
      await cluster.stopOne(at);
      await rm(dataFolder, { recursive: true });
      const own = ['--peer-address', peerAddress, '--client-address', clientAddress];
      const words = ['snapshot', 'restore', file, '--data-folder', dataFolder, '--output', 'json'];
      const { stdout, stderr } = await runCli([...words, ...own, ...shared]);
      const { memberId: id, restoreId } = JSON.parse(stdout) as { memberId: number; restoreId: string };
      expect([id, stderr]).toEqual([at + 1, '']);
      shared = ['--members', list, '--restore-id', restoreId];
    }
    // Two are a majority; the third comes later.
    await cluster.startOne(0);
    await cluster.startOne(1);
    await cluster.leader();
    const client = cluster.client();
    await client.kv.put('new', 'value');
    await cluster.startOne(2);
    const leader = await cluster.leader();
    expect((await client.members()).members.map(({ role }) => role).sort()).toEqual([
      'leader',
      'voter',
      'voter',
    ]);
    expect(new Set(cluster.slots.map((_, at) => cluster?.at(at).status().clusterId)).size).toBe(1);
    await cluster.stopOne(leader);
    for (const [key, value] of [
      ['key7', 'value7'],
      ['new', 'value'],
    ] as const) {
      expect(Buffer.from(must(await client.kv.get(key), key).value).toString()).toBe(value);
    }
  });

  rule('backup.firstEntriesDiffer', 'has logs that are equal to the byte', async () => {
    const logs: unknown[] = [];
    const names = ['one', 'two', 'three'].map((name) => `${name} ${randomUUID()}`);
    let restoreId: string | undefined;
    for (const [at, name] of names.entries()) {
      ({ restoreId } = await restoreAt(at, name, restoreId));
      const place = { folder: join(inFolder(name), 'log'), memberId: memberId(at + 1) };
      const log = await readRaftFolder({
        ...place,
        clusterId: clusterId(must(restoreId, 'id').slice(0, 32)),
      });
      const entries: unknown[] = [log.term, log.lastIndex];
      for await (const { term, data } of log.entries(logIndex(log.baseIndex + 1)))
        entries.push([term, ...data]);
      await log.close();
      expect(entries).toHaveLength(3);
      logs.push(entries);
    }
    expect(logs).toEqual([logs[0], logs[0], logs[0]]);
  });

  rule('backup.restoreIdOfAnyFile', 'is made of one file, not of another of the same entry', async () => {
    const { header } = await checkSnapshotFile(file);
    const other = inFolder('other');
    const later = { ...header, savedMs: header.savedMs + 1 };
    await writeSnapshotFile(other, snapshotBytes(later, snapshotFileChunks(file)));
    const at = (from: string, n: number, restoreId?: string): Promise<RestoredMember> => {
      const own = must(three[n], 'member');
      return restoreCluster({
        file: from,
        dataFolder: inFolder(randomUUID()),
        own,
        members: three,
        restoreId,
      });
    };
    const { restoreId } = await at(file, 0);
    await expect(at(other, 1, restoreId)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(await at(file, 1, restoreId)).toMatchObject({ restoreId });
  });

  rule('backup.restoreIdAlone', 'is not made without the list that the restore id was made for', async () => {
    const { restoreId } = await restoreAt(0, randomUUID());
    const dataFolder = inFolder(randomUUID());
    const alone = restoreCluster({ file, dataFolder, own: must(three[1], 'member'), restoreId });
    await expect(alone).rejects.toMatchObject({ code: 'CONFIG_INVALID', next: expect.any(String) });
  });

  rule('backup.restoreIdUnchecked', 'is made of one file and one list', async () => {
    const name = randomUUID();
    const { restoreId, memberId: id } = await restoreAt(1, `${name} 1`);
    expect(id).toBe(2);
    const others = [...three].reverse();
    const own = must(three[0], 'member');
    const dataFolder = inFolder(`${name} 2`);
    const mixed = restoreCluster({ file, dataFolder, own, members: others, restoreId });
    await expect(mixed).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(restoreAt(0, `${name} 2`, 'abc')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    const outsider = restoreCluster({ file, dataFolder, own: OWN, members: three });
    await expect(outsider).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    const even = restoreCluster({ file, dataFolder, own, members: three.slice(0, 2) });
    await expect(even).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    // Nothing was made of what was refused.
    expect(await readdir(folder)).toEqual([`${name} 1`]);
  });
});

describe('a restore', () => {
  it('of a damaged file changes nothing', async () => {
    const bytes = await readFile(file);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 4;
    const damaged = inFolder('damaged');
    await writeFile(damaged, bytes);
    const restored = restoreCluster({ file: damaged, dataFolder: inFolder('new'), own: OWN });
    await expect(restored).rejects.toMatchObject({ code: 'SNAPSHOT_INVALID' });
    expect(await readdir(folder)).not.toContain('new');
  });

  it('goes into an empty folder only', async () => {
    const before = await readdir(oldFolder);
    const restored = restoreCluster({ file, dataFolder: oldFolder, own: OWN });
    await expect(restored).rejects.toMatchObject({ code: 'FOLDER_NOT_EMPTY' });
    expect(await readdir(oldFolder)).toEqual(before);
    await writeFile(inFolder('file'), '');
    const here = restoreCluster({ file, dataFolder: folder, own: OWN });
    await expect(here).rejects.toMatchObject({ code: 'FOLDER_NOT_EMPTY' });
  });

  it('that a crash cut short does not start, and may be given again', async () => {
    const dataFolder = inFolder('new');
    const crashed = inFolder('crashed');
    armFailpoint({ name: 'backup.beforeIdentity', action: 'pause' });
    const held = new Promise<void>((resolve) => {
      const stop = onFailpointHit(({ name }) => {
        if (name !== 'backup.beforeIdentity') return;
        stop();
        resolve();
      });
    });
    const restoring = restoreCluster({ file, dataFolder, own: OWN });
    await held;
    await cp(dataFolder, crashed, { recursive: true });
    disarmFailpoint('backup.beforeIdentity');
    await restoring;
    const unfinished = startCoordinator(optionsOn(crashed));
    await expect(unfinished).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    await restoreCluster({ file, dataFolder: crashed, own: OWN });
    expect((await readdir(crashed)).sort()).toEqual(['identity.json', 'lock', 'log', 'state']);
  });

  it('that fails leaves an empty folder', async () => {
    armFailpoint({ name: 'backup.beforeIdentity', action: 'error' });
    await expect(restoreCluster({ file, dataFolder: inFolder('new'), own: OWN })).rejects.toThrow(
      'failpoint',
    );
    expect(await readdir(inFolder('new'))).toEqual(['lock']);
    await restoreCluster({ file, dataFolder: inFolder('new'), own: OWN });
  });
});
