/** The end of the state's write-ahead logs, in the shapes that a loss of power can leave it in. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { must } from '../../src/base/index.ts';
import { recordsOf } from '../../src/leveldb/record-file.ts';
import { openStateMachine } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { applyRest, CLUSTER, temporaryFolder, written } from './support/folder.ts';
import { randomHistory } from './support/history.ts';

const history = randomHistory(37, 26);

interface Written {
  readonly folder: string;
  readonly digest: string;
  /** The write-ahead log, its content, and where each of its batches ends. */
  readonly log: string;
  readonly bytes: Buffer;
  readonly ends: readonly number[];
}

/** A closed folder with all of its writes, or all after the first ones, in one write-ahead log. */
async function oneLog(inTables = 0): Promise<Written> {
  const folder = await temporaryFolder();
  if (inTables > 0) {
    const before = await openStateMachine({ folder, clusterId: CLUSTER });
    await before.apply(history.slice(0, inTables));
    // The next open moves them to a table, and begins another log.
    await before.close();
  }
  const machine = await openStateMachine({ folder, clusterId: CLUSTER });
  for (const entry of history.slice(inTables)) {
    await machine.apply([entry]);
    await written(machine);
  }
  const { digest } = machine.view();
  await machine.close();
  const name = must(
    (await readdir(folder)).find((file) => file.endsWith('.log')),
    'a log',
  );
  const log = join(folder, name);
  const bytes = await readFile(log);
  // One block: a part of it, moved to another file, reads as it did.
  expect(bytes.length).toBeLessThan(32 * 1024);
  return { folder, digest, log, bytes, ends: Array.from(recordsOf(bytes), ({ end }) => end) };
}

/** Opens the folder, which has lost its newest writes, applies them again and opens it once more. */
async function catchesUp({ folder, digest }: Written, appliedIndex: number): Promise<void> {
  const cuts: string[] = [];
  const onCut = (what: string): number => cuts.push(what);
  const machine = await openStateMachine({ folder, clusterId: CLUSTER, onCut });
  try {
    expect(machine.appliedIndex).toBe(appliedIndex);
    expect(cuts).toHaveLength(1);
    await applyRest(machine, history, 4);
    expect(machine.view().digest).toBe(digest);
  } finally {
    await machine.close();
  }
  const again = await openStateMachine({ folder, clusterId: CLUSTER, onCut });
  expect(again.view().digest).toBe(digest);
  await again.close();
  expect(cuts).toHaveLength(1);
}

rule('state.brokenLogRefused', 'a last write of full length that is not whole is cut off [R29]', async () => {
  const state = await oneLog();
  const torn = Buffer.from(state.bytes);
  torn.fill(0, state.bytes.length - 20);
  await writeFile(state.log, torn);
  await catchesUp(state, history.length - 1);
});

rule('state.brokenLogNotCut', 'what lies behind a hole is not read', async () => {
  const state = await oneLog();
  const holed = Buffer.from(state.bytes);
  // The first batch is the first head; of the sixth only zeros are there.
  holed.fill(0, must(state.ends[4], 'an end'), must(state.ends[5], 'an end'));
  // LevelDB finds its place again with the next block.
  const next = Buffer.concat([
    holed,
    Buffer.alloc(32 * 1024 - holed.length),
    state.bytes.subarray(must(state.ends[5], 'an end')),
  ]);
  await writeFile(state.log, next);
  await catchesUp(state, 4);
});

rule(
  'state.missingWritesUnnoticed',
  'a newer log that does not follow the older one is dropped',
  async () => {
    const state = await oneLog();
    const number = Number(/(\d+)\.log$/.exec(state.log)?.[1]);
    await writeFile(state.log, state.bytes.subarray(0, must(state.ends[9], 'an end')));
    const newer = join(state.folder, `${String(number + 1).padStart(6, '0')}.log`);
    await writeFile(newer, state.bytes.subarray(must(state.ends[11], 'an end')));
    await catchesUp(state, 9);
  },
);

const LOST: Readonly<Record<string, (log: string, size: number) => Promise<void>>> = {
  'has nothing left': (log) => writeFile(log, ''),
  'has only zeros left': (log, size) => writeFile(log, Buffer.alloc(size)),
  'is not there': (log) => rm(log),
};

for (const [what, lose] of Object.entries(LOST)) {
  rule('state.missingLogUnnoticed', `a newer log is dropped if the older one ${what}`, async () => {
    const state = await oneLog(10);
    const number = Number(/(\d+)\.log$/.exec(state.log)?.[1]);
    const newer = join(state.folder, `${String(number + 1).padStart(6, '0')}.log`);
    await writeFile(newer, state.bytes.subarray(must(state.ends[4], 'an end')));
    await lose(state.log, state.bytes.length);
    await catchesUp(state, 10);
  });
}
