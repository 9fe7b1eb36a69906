import { cp, mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  clusterId,
  isTidemarkError,
  logIndex,
  memberId,
  must,
  term,
  type ErrorCode,
} from '../../../src/base/index.ts';
import { makeEntry, type Entry } from '../../../src/raft/entry.ts';
import {
  HARD_STATE_KEY,
  IDENTITY_KEY,
  MemoryDisk,
  entryKey,
  openFileWitness,
  openLevelKeyValue,
  openLogStore,
  type LogStore,
  type LogStoreOptions,
} from '../../../src/raft/log-store/index.ts';
import { rule } from '../../support/rule.ts';
import { SimDisk } from '../simulation/disk.ts';
import { Chance } from '../simulation/loop.ts';
import { configurationOf } from '../support/membership.ts';

const CLUSTER = clusterId('0123456789abcdef0123456789abcdef');
const OTHER = clusterId('ffffffffffffffffffffffffffffffff');
const WHOLE = { entries: Infinity, bytes: Infinity };

function optionsFor(folder: string, changes: Partial<LogStoreOptions> = {}): LogStoreOptions {
  return { clusterId: CLUSTER, memberId: memberId(1), folder, mustExist: false, sync: true, ...changes };
}

/** Entries of the given terms from `first` on, after one of `prevTerm`. */
function entries(first: number, terms: readonly number[], prevTerm = 0): readonly Entry[] {
  let before = prevTerm;
  return terms.map((at, offset) => {
    const place = { index: logIndex(first + offset), term: term(at), prevTerm: term(before) };
    before = at;
    return makeEntry(place, Buffer.from(`entry ${first + offset} of term ${at}`));
  });
}

function write(store: LogStore, from: number, list: readonly Entry[]): Promise<void> {
  const last = must(list.at(-1), 'an entry');
  return store.write({
    hardState: { term: last.term, vote: memberId(2) },
    log: { from: logIndex(from), entries: list },
  });
}

async function contentOf(store: LogStore): Promise<string> {
  const all = await store.read(logIndex(1), WHOLE);
  const { term: at, vote } = store.hardState;
  return JSON.stringify([
    at,
    vote,
    store.lastIndex,
    all.map(({ index, term: t, data }) => [index, t, String(data)]),
  ]);
}

function coded(...codes: readonly ErrorCode[]): (error: unknown) => boolean {
  return (error) => isTidemarkError(error, ...codes) && error.next !== undefined;
}

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark-log-'));
});
afterAll(() => rm(root, { recursive: true }));

/** What both databases are: opened again and again on the same content. */
interface Medium {
  readonly open: (changes?: Partial<LogStoreOptions>) => Promise<LogStore>;
}

const media: readonly (readonly [string, (name: string) => Medium])[] = [
  [
    'memory',
    () => {
      const disk = new MemoryDisk();
      return {
        open: async (changes) => openLogStore(disk.open(), disk.openWitness(), optionsFor('memory', changes)),
      };
    },
  ],
  [
    'a simulated disk',
    () => {
      const disk = new SimDisk({ later: queueMicrotask });
      return {
        open: async (changes) => openLogStore(disk.open(), disk.openWitness(), optionsFor('sim', changes)),
      };
    },
  ],
  ['LevelDB', (name) => ({ open: (changes) => openLevel(join(root, name), changes) })],
];

async function openLevel(folder: string, changes: Partial<LogStoreOptions> = {}): Promise<LogStore> {
  const kv = await openLevelKeyValue(folder);
  return openLogStore(kv, await openFileWitness(folder), optionsFor(folder, changes));
}

describe.each(media)('a log on %s', (_name, make) => {
  test('begins empty', async () => {
    const store = await make('empty').open();
    expect([store.hardState.term, store.hardState.vote, store.lastIndex, store.bytes]).toEqual([
      0,
      undefined,
      0,
      0,
    ]);
    await store.close();
  });

  test('gives back hard state and entries after it was closed [R2]', async () => {
    const medium = make('again');
    const first = await medium.open();
    await write(first, 1, entries(1, [1, 1, 2]));
    await first.write({ hardState: { term: term(5), vote: undefined }, log: undefined });
    const { bytes } = first;
    await first.close();
    const second = await medium.open({ mustExist: true });
    expect(second.hardState.term).toBe(5);
    expect(second.hardState.vote).toBeUndefined();
    expect(second.bytes).toBe(bytes);
    const view = second.takeView(configurationOf({}));
    expect([view.lastIndex, view.lastTerm, view.termAt(logIndex(2))]).toEqual([3, 2, 1]);
    expect((await second.read(logIndex(2), WHOLE)).map(({ data }) => String(data))).toEqual([
      'entry 2 of term 1',
      'entry 3 of term 2',
    ]);
    await second.close();
  });

  test('a write replaces everything from its first entry on', async () => {
    const medium = make('replace');
    const store = await medium.open();
    await write(store, 1, entries(1, [1, 1, 1, 1, 1]));
    await write(store, 3, entries(3, [2], 1));
    const content = await contentOf(store);
    const { bytes } = store;
    expect(store.lastIndex).toBe(3);
    await store.close();
    const again = await medium.open();
    expect(await contentOf(again)).toBe(content);
    expect(again.bytes).toBe(bytes);
    await again.close();
  });

  test('a read keeps to its limits but gives at least one entry', async () => {
    const store = await make('limits').open();
    await write(store, 1, entries(1, [1, 1, 1, 1]));
    expect(await store.read(logIndex(2), { entries: 2, bytes: Infinity })).toHaveLength(2);
    expect(await store.read(logIndex(2), { entries: 9, bytes: 1 })).toHaveLength(1);
    expect(await store.read(logIndex(5), WHOLE)).toHaveLength(0);
    await store.close();
  });

  test('refuses another cluster, another member, and to begin anew', async () => {
    const medium = make('other');
    await expect(medium.open({ mustExist: true })).rejects.toSatisfy(coded('DATA_CORRUPT'));
    await (await medium.open()).close();
    await expect(medium.open({ clusterId: OTHER })).rejects.toSatisfy(coded('DATA_OF_OTHER_CLUSTER'));
    await expect(medium.open({ memberId: memberId(2) })).rejects.toSatisfy(coded('DATA_OF_OTHER_CLUSTER'));
    await (await medium.open()).close();
  });

  test('refuses a second opener', async () => {
    const medium = make('twice');
    const store = await medium.open();
    await expect(medium.open()).rejects.toSatisfy((error) => isTidemarkError(error, 'DATA_IN_USE'));
    await store.close();
  });
});

describe('a log whose disk failed', () => {
  async function written(): Promise<MemoryDisk> {
    const disk = new MemoryDisk();
    const store = await openLogStore(disk.open(), disk.openWitness(), optionsFor('memory'));
    await write(store, 1, entries(1, [1, 1, 1]));
    await write(store, 2, entries(2, [2, 2], 1));
    await store.close();
    return disk;
  }
  const open = (disk: MemoryDisk): Promise<LogStore> =>
    openLogStore(disk.open(), disk.openWitness(), optionsFor('memory'));

  test.each([
    ['an entry', entryKey(logIndex(2))],
    ['the hard state', HARD_STATE_KEY],
    ['the identity', IDENTITY_KEY],
  ])('a flipped bit anywhere in %s is noticed', async (_what, key) => {
    const disk = await written();
    const bits = must(disk.durable(key), 'a value').length * 8;
    for (let bit = 0; bit < bits; bit += 3) {
      disk.damage(key, bit);
      await expect(open(disk)).rejects.toSatisfy(coded('DATA_CORRUPT', 'FORMAT_UNKNOWN'));
      disk.damage(key, bit);
    }
    await (await open(disk)).close();
  });

  test.each([
    ['the first entry', entryKey(logIndex(1))],
    ['an entry in the middle', entryKey(logIndex(2))],
    ['the last entry', entryKey(logIndex(3))],
    ['the hard state', HARD_STATE_KEY],
    ['the identity', IDENTITY_KEY],
  ])('the loss of %s is noticed', async (_what, key) => {
    const disk = await written();
    disk.forget(key);
    await expect(open(disk)).rejects.toSatisfy(coded('DATA_CORRUPT'));
  });

  rule('raft.logNotSynced', 'what was written is there after a loss of power [R27]', async () => {
    const disk = await written();
    const store = await open(disk);
    await write(store, 4, entries(4, [3], 2));
    disk.crash(0, true);
    const again = await open(disk);
    expect(again.lastIndex).toBe(4);
    await again.close();
  });
});

describe('files of LevelDB', () => {
  let whole = '';
  let content = '';

  beforeAll(async () => {
    whole = join(root, 'whole');
    const list = Array.from({ length: 200 }, () => 1);
    const first = await openLevel(whole);
    for (const entry of entries(1, list)) await write(first, entry.index, [{ ...entry }]);
    await first.close();
    // Opening moves what was in LevelDB's own log into a table; the second half stays in its log.
    const second = await openLevel(whole);
    for (const entry of entries(201, list, 1)) await write(second, entry.index, [entry]);
    content = await contentOf(second);
    await second.close();
  });

  async function damaged(
    name: string,
    damage: (folder: string) => Promise<unknown>,
  ): Promise<string | undefined> {
    const folder = join(root, name);
    await cp(whole, folder, { recursive: true });
    await damage(folder);
    try {
      const store = await openLevel(folder);
      const found = await contentOf(store);
      await store.close();
      return found;
    } catch (error) {
      expect(error).toSatisfy(coded('DATA_CORRUPT', 'FORMAT_UNKNOWN'));
      return undefined;
    }
  }

  async function fileLike(folder: string, pattern: RegExp): Promise<string> {
    const names = (await readdir(folder)).filter((name) => pattern.test(name)).sort();
    return join(folder, must(names.at(-1), `a file like ${pattern.source}`));
  }

  test('are read back whole', async () => {
    expect(await damaged('intact', () => Promise.resolve())).toBe(content);
  });

  test.each([
    ['its log', /\.log$/],
    ['a table', /\.ldb$/],
    ['the manifest', /^MANIFEST/],
    ['CURRENT', /^CURRENT$/],
  ])('%s cut off does not open [R29]', async (name, pattern) => {
    for (const keep of [0, 0.5, 0.99]) {
      const found = await damaged(`cut ${name} ${keep}`, async (folder) => {
        const path = await fileLike(folder, pattern);
        await truncate(path, Math.floor((await readFile(path)).length * keep));
      });
      expect(found).toBeUndefined();
    }
  });

  test.each([
    ['its log', /\.log$/],
    ['a table', /\.ldb$/],
    ['the manifest', /^MANIFEST/],
    ['CURRENT', /^CURRENT$/],
  ])('%s missing does not open', async (name, pattern) => {
    const found = await damaged(`without ${name}`, async (folder) => rm(await fileLike(folder, pattern)));
    expect(found).toBeUndefined();
  });

  test('a flipped bit anywhere is noticed or harmless, never another log [R29]', async () => {
    const chance = new Chance(7);
    let noticed = 0;
    for (let run = 0; run < 40; run++) {
      const found = await damaged(`bit ${run}`, async (folder) => {
        const path = await fileLike(folder, chance.pick([/\.log$/, /\.ldb$/, /^MANIFEST/]));
        const bytes = await readFile(path);
        const at = chance.between(0, bytes.length - 1);
        bytes[at] = must(bytes[at], 'a byte') ^ (1 << chance.between(0, 7));
        await writeFile(path, bytes);
      });
      if (found === undefined) noticed++;
      else expect(found).toBe(content);
    }
    expect(noticed).toBeGreaterThan(20);
  });

  test('a lost witness is no loss', async () => {
    const found = await damaged('no witness', (folder) => rm(join(folder, 'tidemark-writes')));
    expect(found).toBe(content);
  });
});
