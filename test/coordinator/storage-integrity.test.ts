/**
 * Every file of a member's two databases, damaged in every way, one at a time: the damage is noticed when the
 * databases open (before a vote, a reply or a read can leave), or log and state are what they were.
 */
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, test } from 'vitest';
import { isTidemarkError, logIndex, memberId, must, term } from '../../src/base/index.ts';
import { makeEntry } from '../../src/raft/entry.ts';
import {
  openFileWitness,
  openLevelKeyValue,
  openLogStore,
  type LogStore,
} from '../../src/raft/log-store/index.ts';
import { openStateMachine } from '../../src/statemachine/index.ts';
import { CLUSTER, applyRest } from '../statemachine/support/folder.ts';
import { Random, randomHistory } from '../statemachine/support/history.ts';
import { TestCluster } from './cluster-harness.ts';

const history = randomHistory(5, 120);
/** How many entries the folder that single files are rolled back to has seen. */
const EARLIER = 60;

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

/** Term, vote, every entry, and the state after all of them; undefined if one of the two does not open. */
async function contentOf(folder: string): Promise<string | undefined> {
  let log: LogStore;
  try {
    log = await openLog(folder, true);
  } catch (error) {
    expect(isTidemarkError(error, 'DATA_CORRUPT', 'FORMAT_UNKNOWN') && error.next !== undefined).toBe(true);
    return undefined;
  }
  const all = await log.read(logIndex(1), { entries: Infinity, bytes: Infinity });
  const { term: at, vote } = log.hardState;
  await log.close();
  try {
    const state = await openStateMachine({ folder: join(folder, 'state'), clusterId: CLUSTER });
    // A state that is ahead of its log does not start (raft, start.ts); one that is behind is brought up.
    const ahead = state.appliedIndex > all.length;
    await applyRest(state, history.slice(0, all.length), 20);
    const { digest } = state.view();
    await state.close();
    return ahead ? undefined : JSON.stringify([at, vote, all.map(({ record }) => record.toString()), digest]);
  } catch (error) {
    expect(isTidemarkError(error, 'DATA_CORRUPT', 'FORMAT_UNKNOWN') && error.next !== undefined).toBe(true);
    return undefined;
  }
}

type Damage = (path: string, bytes: Buffer, random: Random, database: string) => Promise<void>;

const DAMAGES: Readonly<Record<string, Damage>> = {
  flipped: async (path, bytes, random) => {
    const at = random.below(bytes.length);
    bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at);
    await writeFile(path, bytes);
  },
  zeroed: async (path, bytes, random) => {
    const from = random.below(bytes.length);
    await writeFile(path, bytes.fill(0, from, Math.min(bytes.length, from + 512)));
  },
  cut: async (path, bytes, random) => writeFile(path, bytes.subarray(0, random.below(bytes.length))),
  'rolled back': async (path, _bytes, _random, database) => {
    await writeFile(path, await readFile(join(earlier, database, basename(path))));
  },
  deleted: (path) => rm(path),
};

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark-integrity-'));
  now = join(root, 'now');
  earlier = join(root, 'earlier');
  await write(now, 0, EARLIER);
  await cp(now, earlier, { recursive: true });
  await write(now, EARLIER, 90);
  // Opened again, so that there are tables besides LevelDB's own log.
  await write(now, 90, history.length);
  right = must(await contentOf(await copied('intact')), 'the content of an intact folder');
});
afterAll(() => rm(root, { recursive: true }));

async function copied(name: string): Promise<string> {
  const folder = join(root, name);
  await cp(now, folder, { recursive: true });
  return folder;
}

describe.each(['log', 'state'])('each file of the %s', (database) => {
  it.each(Object.keys(DAMAGES))('%s, is noticed or harmless', async (kind) => {
    const random = new Random(kind.length);
    const damage = must(DAMAGES[kind], 'a kind of damage');
    const earlierNames = new Set(await readdir(join(earlier, database)));
    let noticed = 0;
    for (const name of await readdir(join(now, database))) {
      if (kind === 'rolled back' && !earlierNames.has(name)) continue;
      const bytes = await readFile(join(now, database, name));
      if (bytes.length === 0 && kind !== 'deleted') continue;
      const folder = await copied(`${database} ${kind} ${name}`);
      const path = join(folder, database, name);
      await damage(path, bytes, random, database);
      const found = await contentOf(folder);
      if (found === undefined) noticed++;
      else expect(found, `${name} ${kind}`).toBe(right);
    }
    expect(noticed, 'how many were noticed').toBeGreaterThan(0);
  });
});

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
});
