/** LevelDB's own log, cut off anywhere in the write that was under way when the power went. */
import { cp, mkdtemp, readFile, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isTidemarkError, memberId, must } from '../../../src/base/index.ts';
import {
  openFileWitness,
  openLevelKeyValue,
  openLogStore,
  type LogStore,
} from '../../../src/raft/log-store/index.ts';
import { CLUSTER } from '../support/grpc-cluster.ts';
import { I, T, entriesOf } from '../core/harness.ts';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark-torn-'));
});
afterAll(() => rm(root, { recursive: true }));

async function open(folder: string): Promise<LogStore> {
  const options = { clusterId: CLUSTER, memberId: memberId(1), folder, mustExist: false, sync: true };
  return openLogStore(await openLevelKeyValue(folder), await openFileWitness(folder), options);
}

async function logFile(folder: string): Promise<string> {
  const name = (await readdir(folder)).find((file) => file.endsWith('.log'));
  return join(folder, must(name, 'a log file'));
}

/** Folders as they were before and after the write of entry 9. */
async function twoMoments(): Promise<{ before: string; after: string }> {
  const [live, before, after] = [join(root, 'live'), join(root, 'before'), join(root, 'after')];
  const store = await open(live);
  for (const entry of entriesOf([1, 1, 1, 1, 1, 1, 1, 1, 1])) {
    if (entry.index === 9) await cp(live, before, { recursive: true });
    const hardState = { term: T(1), vote: undefined };
    await store.write({ hardState, log: { from: entry.index, entries: [entry] } });
  }
  await cp(live, after, { recursive: true });
  await store.close();
  return { before, after };
}

test('a write that a loss of power cut off is dropped, all before it is there [R29]', async () => {
  const { before, after } = await twoMoments();
  const [shorter, longer] = [await readFile(await logFile(before)), await readFile(await logFile(after))];
  for (let length = shorter.length; length <= longer.length; length += 5) {
    const torn = join(root, `torn at ${length}`);
    await cp(before, torn, { recursive: true });
    await cp(await logFile(after), await logFile(torn));
    await truncate(await logFile(torn), length);
    const store = await open(torn);
    expect([length, store.lastIndex]).toEqual([length, 8]);
    await store.write({ hardState: undefined, log: { from: I(9), entries: entriesOf([1], 9, 1) } });
    await store.close();
  }
  // The same end is refused where the write was known to be durable.
  const known = join(root, 'known');
  await cp(after, known, { recursive: true });
  await truncate(await logFile(known), longer.length - 1);
  await expect(open(known)).rejects.toSatisfy((error) => isTidemarkError(error, 'DATA_CORRUPT'));
});
