import { cp, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Level } from 'level';
import { describe, expect, it } from 'vitest';
import { clusterId, encode, isTidemarkError, must, type Encodable } from '../../src/base/index.ts';
import {
  MemoryState,
  openStateMachine,
  type AppliedEntry,
  type StateView,
} from '../../src/statemachine/index.ts';
import { applyRest, open, temporaryFolder } from './support/folder.ts';
import { Random, randomHistory } from './support/history.ts';
import { rule } from '../support/rule.ts';

const history = randomHistory(11, 100);

/** A closed folder in which the whole history was applied, and what it holds. */
async function filled(groupOf = 3): Promise<Filled> {
  const folder = await temporaryFolder();
  const machine = await open(folder);
  await applyRest(machine, history, groupOf);
  const contents = contentsOf(machine.view());
  await machine.close();
  return { folder, contents };
}

interface Filled {
  readonly folder: string;
  readonly contents: string;
}

/** Every row of every table, and the digest. */
function contentsOf(view: StateView): string {
  const { cluster, topology, sessions, executors, sinks, sources, reports, windows, tasks, digest } = view;
  const tables = [sessions, executors, sinks, sources, reports, windows, tasks];
  const contents = [digest, cluster, topology ?? null, ...tables.map((table) => [...table.values()])];
  return Buffer.from(encode(1, contents as unknown as Encodable)).toString('base64');
}

async function filesOf(folder: string, pattern: RegExp): Promise<string[]> {
  const names = await readdir(join(folder, 'state'));
  return names.filter((name) => pattern.test(name)).map((name) => join(folder, 'state', name));
}

async function copyOf(folder: string): Promise<string> {
  const copy = await temporaryFolder();
  await cp(folder, copy, { recursive: true });
  return copy;
}

/**
 * Opens a damaged folder: either it is refused as damaged, or it is an earlier state, which the log brings up
 * to date.
 */
async function openOrRefuse(folder: string, contents: string): Promise<'refused' | 'earlier' | 'whole'> {
  let machine;
  try {
    machine = await open(folder);
  } catch (error) {
    expect(isTidemarkError(error, 'DATA_CORRUPT', 'FORMAT_UNKNOWN')).toBe(true);
    return 'refused';
  }
  const outcome = machine.appliedIndex < history.length ? 'earlier' : 'whole';
  await applyRest(machine, history, 10);
  expect(contentsOf(machine.view())).toEqual(contents);
  await machine.close();
  return outcome;
}

describe('the folder of the state', () => {
  it('holds what was applied when it is opened again', async () => {
    const { folder, contents } = await filled();
    const machine = await open(folder);
    expect(machine.appliedIndex).toBe(history.length);
    expect(contentsOf(machine.view())).toEqual(contents);
    await machine.close();
  });

  it('is used by one process at a time', async () => {
    const folder = await temporaryFolder();
    const machine = await open(folder);
    await expect(open(folder)).rejects.toMatchObject({ code: 'DATA_IN_USE' });
    await machine.close();
    await (await open(folder)).close();
  });

  it('is refused to another cluster', async () => {
    const { folder } = await filled();
    const other = openStateMachine({ folder: join(folder, 'state'), clusterId: clusterId('f'.repeat(32)) });
    await expect(other).rejects.toMatchObject({ code: 'DATA_OF_OTHER_CLUSTER' });
  });

  it('is refused when it cannot be made', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'state'), 'a file');
    await expect(open(folder)).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
  });

  it('is not called damaged when the disk refuses a new file: it opens when that is put right', async () => {
    const { folder, contents } = await filled();
    const inTheWay = ['000005', '000006', '000007'].map((name) => join(folder, 'state', `${name}.ldb`));
    for (const path of inTheWay) await mkdir(path);
    await expect(open(folder)).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
    for (const path of inTheWay) await rm(path, { recursive: true });
    const machine = await open(folder);
    expect(contentsOf(machine.view())).toEqual(contents);
    await machine.close();
  });

  it('ends in an error, not in a reply, when an entry is damaged or of a later version', async () => {
    const folder = await temporaryFolder();
    const machine = await open(folder);
    const later: AppliedEntry = { index: 1, term: 1, data: encode(2, {}) };
    await expect(machine.apply([later])).rejects.toMatchObject({ code: 'FORMAT_UNKNOWN' });
    await expect(machine.apply(history)).rejects.toThrow(/does not follow a failure/);
    await machine.close();
  });

  it('never applies an entry twice, or with a gap [R37]', async () => {
    const machine = await open(await temporaryFolder());
    await machine.apply(history.slice(0, 5));
    await expect(machine.apply(history.slice(4, 6))).rejects.toThrow(/without a gap/);
    await machine.close();
  });
});

describe('a first start that was cut short', () => {
  async function opensEmpty(folder: string): Promise<void> {
    const machine = await open(folder);
    expect(machine.appliedIndex).toBe(0);
    await applyRest(machine, history, 10);
    await machine.close();
    await (await open(folder)).close();
  }

  it.each([
    [['LOCK']],
    [['LOCK', 'LOG', 'MANIFEST-000001']],
    [['LOCK', 'LOG', 'LOG.old', 'MANIFEST-000001', '000001.dbtmp']],
  ])('begins again where LevelDB had made %j', async (names) => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'state'));
    for (const name of names) await writeFile(join(folder, 'state', name), '');
    await opensEmpty(folder);
  });

  rule('state.emptyDatabaseRefused', 'begins again where a database has no row yet', async () => {
    const folder = await temporaryFolder();
    const db = new Level(join(folder, 'state'), { compression: false });
    await db.open();
    await db.close();
    await opensEmpty(folder);
  });
});

describe('damage', () => {
  it('a log cut off at any byte leaves an earlier state, which the log brings up to date [R35]', async () => {
    const { folder, contents } = await filled();
    const [log] = await filesOf(folder, /\.log$/);
    const { size } = await stat(log ?? '');
    const random = new Random(3);
    const outcomes = new Map<string, number>();
    for (let i = 0; i < 10; i++) {
      const copy = await copyOf(folder);
      const [cut] = await filesOf(copy, /\.log$/);
      await truncate(cut ?? '', random.below(size));
      const outcome = await openOrRefuse(copy, contents);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect(outcomes.get('earlier') ?? 0).toBeGreaterThan(6);
    expect(outcomes.has('whole')).toBe(false);
  });

  /** Brings all rows into a table file: LevelDB moves its log there when it opens the folder. */
  async function inTableFile(): Promise<Filled> {
    const made = await filled();
    for (let i = 0; i < 2; i++) await (await open(made.folder)).close();
    return made;
  }

  /** Flips one bit at a time; answers how often the folder was refused. Otherwise its state was right. */
  async function flipBits(made: Filled, pattern: RegExp): Promise<number> {
    const [file] = await filesOf(made.folder, pattern);
    const bytes = await readFile(file ?? '');
    const random = new Random(9);
    let refused = 0;
    for (let i = 0; i < 10; i++) {
      const copy = await copyOf(made.folder);
      const [flipped] = await filesOf(copy, pattern);
      const at = random.below(bytes.length);
      const damaged = Buffer.from(bytes);
      damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << random.below(8)), at);
      await writeFile(flipped ?? '', damaged);
      if ((await openOrRefuse(copy, made.contents)) === 'refused') refused += 1;
    }
    return refused;
  }

  it('a flipped bit in the log file is never taken for data: the rest is applied again', async () => {
    expect(await flipBits(await filled(), /\.log$/)).toBe(0);
  });

  it('a flipped bit anywhere in a table file is noticed', async () => {
    expect(await flipBits(await inTableFile(), /\.ldb$/)).toBe(10);
  });

  rule('state.digestNotComparedAtOpen', 'a row that vanished, or came back, is found out', async () => {
    const { folder } = await filled();
    const key = 'cluster/';
    for (const change of ['vanished', 'came back'] as const) {
      const copy = await copyOf(folder);
      const db = new Level<string, Uint8Array>(join(copy, 'state'), {
        valueEncoding: 'view',
        compression: false,
      });
      if (change === 'vanished') await db.del(key);
      else await db.put(key, await earlierRow(key));
      await db.close();
      await expect(open(copy)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    }
  });

  /** A row as it was, and was right, after the first half of the history. */
  async function earlierRow(key: string): Promise<Uint8Array> {
    const folder = await temporaryFolder();
    const machine = await open(folder);
    await applyRest(machine, history.slice(0, history.length / 2), 10);
    await machine.close();
    const db = new Level<string, Uint8Array>(join(folder, 'state'), {
      valueEncoding: 'view',
      compression: false,
    });
    const row = await db.get(key);
    await db.close();
    return must(row, 'the row');
  }

  it.each([
    ['the file that names the present version', /^CURRENT$/],
    ['the manifest', /^MANIFEST/],
    ['a table file', /\.ldb$/],
  ])('%s missing is refused with a code', async (_what, pattern) => {
    const { folder } = await inTableFile();
    for (const name of await readdir(join(folder, 'state'))) {
      if (pattern.test(name)) await rm(join(folder, 'state', name));
    }
    await expect(open(folder)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
  });

  it('a folder with something else in it is not taken over', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'state'));
    await writeFile(join(folder, 'state', 'notes.txt'), 'mine');
    await expect(open(folder)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    expect(await readdir(join(folder, 'state'))).toContain('notes.txt');
  });
});

describe('a row', () => {
  rule('state.rowChecksumIgnored', 'is refused when a bit of its key or value differs', () => {
    const state = new MemoryState();
    state.setTopology({ version: 1, placedVersion: 1, spec: 'a', shards: [] });
    const [row] = state.takeChanges();
    const bytes = Buffer.from(row?.bytes ?? []);
    const other = new MemoryState();
    other.loadRow(row?.fullKey ?? '', bytes);
    expect(other.loaded()).toBe(state.digest);
    const last = bytes.length - 1;
    bytes.writeUInt8(bytes.readUInt8(last) ^ 1, last);
    expect(() => {
      new MemoryState().loadRow(row?.fullKey ?? '', bytes);
    }).toThrow(/checksum/);
  });
});
