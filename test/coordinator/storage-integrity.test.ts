/**
 * Every file of a member's folder, damaged in every way, one at a time: the damage is noticed when the member
 * starts (before a vote, a reply or a read can leave), or log and state are what they were.
 * `TIDEMARK_DAMAGE_TRIALS=1000 npx vitest run test/coordinator/storage-integrity` tries more places.
 */
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, test } from 'vitest';
import { isTidemarkError, logIndex, memberId, must, term } from '../../src/base/index.ts';
import { openDataFolder } from '../../src/coordinator/members/data-folder.ts';
import { readIdentity, writeIdentity } from '../../src/coordinator/members/identity.ts';
import { initialConfiguration } from '../../src/raft/configuration.ts';
import { makeEntry } from '../../src/raft/entry.ts';
import {
  openFileWitness,
  openLevelKeyValue,
  openLogStore,
  type LogStore,
} from '../../src/raft/log-store/index.ts';
import { openStateMachine } from '../../src/statemachine/index.ts';
import type { StatusReply } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { CLUSTER, applyRest } from '../statemachine/support/folder.ts';
import { Random, randomHistory } from '../statemachine/support/history.ts';
import { TestCluster } from './cluster-harness.ts';

const history = randomHistory(5, 120);
/** How many entries the folder that single files are rolled back to has seen. */
const EARLIER = 60;
const TRIALS = Number(process.env['TIDEMARK_DAMAGE_TRIALS'] ?? 12);
const PAGE = 4_096;

let root = '';
let now = '';
let earlier = '';
let right = '';

async function openLog(folder: string, mustExist: boolean): Promise<LogStore> {
  const kv = await openLevelKeyValue(join(folder, 'log'));
  const witness = await openFileWitness(join(folder, 'log'));
  const options = { clusterId: CLUSTER, memberId: memberId(1), folder, mustExist, sync: true };
  return openLogStore(kv, witness, options);
}

async function write(folder: string, from: number, to: number): Promise<void> {
  const log = await openLog(folder, from > 0);
  const state = await openStateMachine({ folder: join(folder, 'state'), clusterId: CLUSTER });
  const member = { id: memberId(1), peerAddress: '127.0.0.1:1', clientAddress: '127.0.0.1:2' };
  const own = { clusterId: CLUSTER, memberId: member.id, members: [member] };
  await writeIdentity(folder, { ...own, joined: false, removed: false, started: from > 0 });
  for (let at = from; at < to; at++) {
    const entry = must(history[at], 'an entry');
    const prevTerm = term(history[at - 1]?.term ?? 0);
    const made = makeEntry({ index: logIndex(entry.index), term: term(entry.term), prevTerm }, entry.data);
    const hardState = { term: made.term, vote: memberId(1) };
    await log.write({ hardState, log: { from: made.index, entries: [made] } });
    await state.apply([entry]);
  }
  await state.close();
  await log.close();
}

/** What a member finds at its start: identity, term, vote, every entry, the state after all of them. */
async function contentOf(folder: string): Promise<string> {
  const { identity, close } = await openDataFolder(folder);
  await close();
  const log = await openLog(folder, must(identity, 'an identity').started);
  const all = await log.read(logIndex(1), { entries: Infinity, bytes: Infinity });
  const { term: at, vote } = log.hardState;
  await log.close();
  const state = await openStateMachine({ folder: join(folder, 'state'), clusterId: CLUSTER });
  try {
    // A state that is ahead of its log does not start (raft, start.ts); one that is behind is brought up.
    if (state.appliedIndex > all.length) return 'refused';
    await applyRest(state, history.slice(0, all.length), 20);
    const { clusterId, memberId: id, members } = must(identity, 'an identity');
    const records = all.map(({ record }) => record.toString());
    return JSON.stringify([clusterId, id, members, at, vote, records, state.view().digest]);
  } finally {
    await state.close();
  }
}

/** `refused` with a code and an advice, or `harmless`; anything else is wrong. */
async function outcomeOf(folder: string): Promise<'refused' | 'harmless'> {
  let found: string;
  try {
    found = await contentOf(folder);
  } catch (error) {
    const coded = isTidemarkError(error, 'DATA_CORRUPT', 'FORMAT_UNKNOWN', 'STORAGE_FAILED');
    if (!coded || error.next === undefined) throw error;
    return 'refused';
  }
  if (found === 'refused') return found;
  expect(found).toBe(right);
  return 'harmless';
}

type Damage = (path: string, bytes: Buffer, random: Random, before: string) => Promise<void>;

const DAMAGES: Readonly<Record<string, Damage>> = {
  flipped: async (path, bytes, random) => {
    const at = random.below(bytes.length);
    bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at);
    await writeFile(path, bytes);
  },
  zeroed: async (path, bytes, random) => {
    const from = PAGE * random.below(Math.ceil(bytes.length / PAGE));
    await writeFile(path, bytes.fill(0, from, Math.min(bytes.length, from + PAGE)));
  },
  cut: async (path, bytes, random) => writeFile(path, bytes.subarray(0, random.below(bytes.length))),
  'rolled back': async (path, _bytes, _random, before) => writeFile(path, await readFile(before)),
  deleted: (path) => rm(path),
};

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark-integrity-'));
  now = join(root, 'now');
  earlier = join(root, 'earlier');
  await (await openDataFolder(now)).close();
  await write(now, 0, EARLIER);
  await cp(now, earlier, { recursive: true });
  await write(now, EARLIER, 90);
  // Opened again, so that there are tables besides LevelDB's own log.
  await write(now, 90, history.length);
  right = await contentOf(await copied('intact'));
});
afterAll(() => rm(root, { recursive: true }));

async function copied(name: string): Promise<string> {
  const folder = join(root, name);
  await cp(now, folder, { recursive: true });
  return folder;
}

async function filesOf(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = found.filter((entry) => entry.isFile());
  return files.map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1)).sort();
}

/** Damages one file of a copy; undefined where this damage changes nothing. */
async function tryDamage(file: string, kind: string, random: Random): Promise<string | undefined> {
  const before = join(earlier, file);
  if (kind === 'rolled back' && !(await filesOf(earlier)).includes(file)) return undefined;
  const bytes = await readFile(join(now, file));
  if (bytes.length === 0 && kind !== 'deleted') return undefined;
  const folder = await copied('damaged');
  try {
    const path = join(folder, file);
    await must(DAMAGES[kind], 'a kind of damage')(path, Buffer.from(bytes), random, before);
    const changed = kind === 'deleted' || !bytes.equals(await readFile(path));
    return changed ? await outcomeOf(folder) : undefined;
  } catch (error) {
    throw new Error(`${file} ${kind}`, { cause: error });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Of what kind a file is: `log/000005.ldb` is `log/table`. */
function kindOf(file: string): string {
  return file
    .replace(/\d+\.ldb$/, 'table')
    .replace(/\d+\.log$/, 'journal')
    .replace(/MANIFEST-\d+$/, 'MANIFEST')
    .replace(/LOG\.old$/, 'LOG');
}

/** `any`: at some places it changes nothing that is read. The rest is always refused or always harmless. */
type Outcome = 'refused' | 'harmless' | 'any';
type Row = Readonly<Record<string, Outcome>>;
const row = (flipped: Outcome, cut: Outcome, rolledBack: Outcome, deleted: Outcome): Row => {
  return { flipped, zeroed: flipped, cut, 'rolled back': rolledBack, deleted };
};
const HARMLESS = row('harmless', 'harmless', 'harmless', 'harmless');
const REFUSED = row('any', 'refused', 'refused', 'refused');
const EXPECTED: Readonly<Record<string, Row>> = {
  'identity.json': row('refused', 'refused', 'harmless', 'refused'),
  'log/CURRENT': REFUSED,
  'log/MANIFEST': REFUSED,
  'log/table': REFUSED,
  'log/journal': REFUSED,
  'log/tidemark-writes': HARMLESS,
  'state/CURRENT': REFUSED,
  'state/MANIFEST': REFUSED,
  'state/table': REFUSED,
  // The log brings a state up that has lost its newest writes.
  'state/journal': HARMLESS,
  // Holds nothing but the lock; a damaged one is to be deleted by hand.
  'lock/CURRENT': row('any', 'any', 'any', 'any'),
  'lock/MANIFEST': row('any', 'any', 'any', 'any'),
  'lock/journal': HARMLESS,
};
/** LevelDB's own notes, and the file that it locks. */
const NOTES = /\/(LOG|LOCK)$/;

it('each file, damaged in each way, is noticed or harmless [R29]', { timeout: 60_000 }, async () => {
  const random = new Random(7);
  for (const file of await filesOf(now)) {
    const kind = kindOf(file);
    const expected = NOTES.test(kind) ? HARMLESS : must(EXPECTED[kind], kind);
    for (const damage of Object.keys(DAMAGES)) {
      const found = await tryDamage(file, damage, random);
      const wanted = expected[damage];
      if (found !== undefined && wanted !== 'any') expect(found, `${file} ${damage}`).toBe(wanted);
    }
  }
});

it('places at random are noticed or harmless [R29]', { timeout: 10_000 + TRIALS * 1_000 }, async () => {
  const random = new Random(11);
  const files = (await filesOf(now)).filter((file) => /ldb|^(log|state).*\.log|MANIFEST|CURRENT/.test(file));
  let noticed = 0;
  for (let trial = 0; trial < TRIALS; trial++) {
    const file = must(files[random.below(files.length)], 'a file');
    const kind = must(['flipped', 'zeroed', 'cut'][random.below(3)], 'a kind');
    if ((await tryDamage(file, kind, random)) === 'refused') noticed++;
  }
  expect(noticed).toBeGreaterThan(TRIALS / 2);
});

/** Has a stopped member's log begin where its state stands. */
async function forgetApplied(folder: string): Promise<void> {
  const { clusterId, memberId: id, members } = must(await readIdentity(folder), 'an identity');
  const state = await openStateMachine({ folder: join(folder, 'state'), clusterId });
  const index = logIndex(state.appliedIndex);
  await state.close();
  const place = { clusterId, memberId: id, folder: join(folder, 'log') };
  const kv = await openLevelKeyValue(place.folder);
  const witness = await openFileWitness(place.folder);
  const log = await openLogStore(kv, witness, { ...place, mustExist: true, sync: true });
  const configuration = log.latestConfiguration(initialConfiguration(members));
  const compactTo = { index, term: must(log.termAt(index), 'its term'), configuration };
  await log.write({ hardState: undefined, log: undefined, compactTo });
  await log.close();
}

describe('a member that has run', () => {
  let cluster: TestCluster | undefined;
  afterEach(() => cluster?.stop());

  test('does not start, and so never votes, without its log', async () => {
    cluster = await TestCluster.formed(1);
    const { dataFolder } = must(cluster.slots[0], 'a slot');
    await cluster.stopOne(0);
    await rm(join(dataFolder, 'log'), { recursive: true });
    await expect(cluster.startOne(0)).rejects.toMatchObject({
      code: 'DATA_CORRUPT',
      message: expect.stringContaining('what this member voted is not known'),
    });
  });

  test('whose state folder was emptied gets the state from the others', { timeout: 30_000 }, async () => {
    cluster = await TestCluster.formed(3);
    const client = cluster.client();
    const put = (from: number) =>
      Promise.all(Array.from({ length: 20 }, (_, n) => client.kv.put(`k${from + n}`, `${from + n}`)));
    await put(0);
    const at = ((await cluster.leader()) + 1) % 3;
    const { dataFolder } = must(cluster.slots[at], 'a slot');
    const statuses = (): StatusReply[] => [0, 1, 2].map((n) => must(cluster, 'a cluster').at(n).status());
    const agree = (): boolean => new Set(statuses().map(({ appliedIndex }) => appliedIndex)).size === 1;
    await eventually(agree, { withinMs: 5_000 });
    await cluster.stopOne(at);
    await forgetApplied(dataFolder);
    await rm(join(dataFolder, 'state'), { recursive: true });
    await cluster.startOne(at);
    await put(20);
    await eventually(agree, { withinMs: 10_000 });
    expect(new Set(statuses().map(({ digest }) => digest)).size).toBe(1);
    expect(cluster.fatal).toEqual([]);
  });

  test(
    'and is damaged harms nobody; removed, it is added again on an empty folder [R29 R51]',
    { timeout: 30_000 },
    async () => {
      cluster = await TestCluster.formed(3);
      const client = cluster.client();
      const put = (from: number) =>
        Promise.all(Array.from({ length: 20 }, (_, n) => client.kv.put(`k${from + n}`, `${from + n}`)));
      await put(0);
      const damagedAt = ((await cluster.leader()) + 1) % 3;
      const slot = must(cluster.slots[damagedAt], 'a slot');
      const id = Number(cluster.at(damagedAt).status().memberId);
      await cluster.stopOne(damagedAt);
      const log = join(slot.dataFolder, 'log');
      const journal = must(
        (await readdir(log)).find((name) => name.endsWith('.log')),
        'the journal',
      );
      const bytes = await readFile(join(log, journal));
      const middle = bytes.length >> 1;
      bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle);
      await writeFile(join(log, journal), bytes);
      await expect(cluster.startOne(damagedAt)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
      await put(20);
      const { peerAddress, clientAddress } = slot;
      await cluster.startOne(damagedAt, { dataFolder: `${slot.dataFolder}-anew` });
      await client.membership.remove(id);
      await client.membership.add({ peerAddress, clientAddress });
      await put(40);
      await cluster.stopOne(await cluster.leader());
      const found = await Promise.all(Array.from({ length: 60 }, (_, n) => client.kv.get(`k${n}`)));
      expect(found.map((one) => Buffer.from(one?.value ?? []).toString())).toEqual(
        found.map((_, n) => `${n}`),
      );
    },
  );
});
