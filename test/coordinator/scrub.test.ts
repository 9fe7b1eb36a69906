import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeWrites, must, type Clock } from '../../src/base/index.ts';
import { Scrub } from '../../src/coordinator/integrity/scrub.ts';
import { scrubLevelFolder } from '../../src/leveldb/index.ts';
import { createLogger } from '../../src/ops/index.ts';
import { encodeEntry, openStateMachine, type StateMachine } from '../../src/statemachine/index.ts';
import { openLevelDatabase } from '../../src/statemachine/state-database.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';
import { CLUSTER, open, temporaryFolder } from '../statemachine/support/folder.ts';
import { randomHistory } from '../statemachine/support/history.ts';

/** Time in which every pause is over at once. */
const hurried: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => 0,
  after(_delayMs, run) {
    const soon = setImmediate(run);
    return () => {
      clearImmediate(soon);
    };
  },
};

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function apply(machine: StateMachine, keys: number): Promise<void> {
  for (let from = 0; from < keys; from += 100) {
    const writes = Array.from({ length: 100 }, (_, n) => ({
      path: `ns/key-${from + n}`,
      value: Buffer.alloc(200, n),
      expected: undefined,
    }));
    const operations = [{ type: 'kv.write', v: 1, writes: encodeWrites(writes) }] as const;
    const items = [{ session: 0, sequence: 0, operations }];
    const data = encodeEntry({ logTimeMs: 0, wallMs: 0, items });
    await machine.apply([{ index: machine.appliedIndex + 1, term: 1, data }]);
  }
  await machine.snapshots.flush();
}

function scrubbed(machine: StateMachine, folder: string): { scrub: Scrub; found: unknown[] } {
  const found: unknown[] = [];
  const scrub = new Scrub({
    checks: [() => scrubLevelFolder(folder), () => machine.scrub()],
    clock: hurried,
    log: createLogger({ level: 'silent', role: 'test' }),
    onFatal: (error) => found.push(error),
  });
  scrub.start();
  stops.push(() => scrub.stop());
  return { scrub, found };
}

async function running(): Promise<{ machine: StateMachine; state: string }> {
  const folder = await temporaryFolder();
  const machine = await open(folder);
  stops.push(() => machine.close());
  await apply(machine, 2_000);
  return { machine, state: join(folder, 'state') };
}

describe('a scrub of a running member', () => {
  it('finds everything whole, while entries are applied and tables come and go', async () => {
    const { machine, state } = await running();
    const { scrub, found } = scrubbed(machine, state);
    for (let round = 0; round < 5; round++) await apply(machine, 1_000);
    await eventually(() => scrub.ageMs !== undefined, { withinMs: 10_000 });
    const first = must(scrub.ageMs, 'an age');
    await eventually(() => must(scrub.ageMs, 'an age') < first, { withinMs: 10_000 });
    expect(found).toEqual([]);
  });

  it('finds one flipped bit in a table', async () => {
    const { machine, state } = await running();
    const name = must(
      (await readdir(state)).find((one) => one.endsWith('.ldb')),
      'a table',
    );
    const bytes = await readFile(join(state, name));
    bytes.writeUInt8(bytes.readUInt8(5_000) ^ 1, 5_000);
    await writeFile(join(state, name), bytes);
    const { found } = scrubbed(machine, state);
    await eventually(() => found.length > 0, { withinMs: 10_000 });
    expect(found).toMatchObject([{ code: 'DATA_CORRUPT', message: expect.stringContaining(name) }]);
  });

  rule('state.scrubIgnoresRecords', 'finds a record in memory that is not what was stored', async () => {
    const { machine } = await running();
    const entries = randomHistory(3, 120).map((entry, at) => ({ ...entry, index: at + 21 }));
    await machine.apply(entries);
    const run = async (): Promise<void> => {
      for await (const step of machine.scrub()) expect(step).toBeUndefined();
    };
    await run();
    const [first] = machine.view().executors.values();
    Object.assign(must(first, 'an executor'), { name: 'other' });
    await expect(run()).rejects.toMatchObject({
      code: 'DATA_CORRUPT',
      message: expect.stringMatching(/executor\/.* in memory/),
    });
  });

  rule('state.scrubIgnoresSum', 'finds a row that the database shows no more', async () => {
    const folder = await temporaryFolder();
    let hide = false;
    const machine = await openStateMachine({
      folder,
      clusterId: CLUSTER,
      openDatabase: async (path) => {
        const opened = await openLevelDatabase(path);
        const { iterator } = opened.db;
        opened.db.iterator = (options) => {
          const rows = iterator.call(opened.db, options);
          const { nextv } = rows;
          rows.nextv = async (size) =>
            (await nextv.call(rows, size)).filter(([key]) => !(hide && key === 'kv/ns/key-7'));
          return rows;
        };
        return opened;
      },
    });
    try {
      await apply(machine, 200);
      hide = true;
      const run = async (): Promise<void> => {
        for await (const step of machine.scrub()) expect(step).toBeUndefined();
      };
      await expect(run()).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    } finally {
      await machine.close();
    }
  });
});
