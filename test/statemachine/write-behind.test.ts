/** What is applied is answered before the database has it. */
import { expect } from 'vitest';
import { encodeWrites, LIMITS } from '../../src/base/index.ts';
import {
  encodeEntry,
  openStateMachine,
  type AppliedEntry,
  type StateMachine,
} from '../../src/statemachine/index.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';
import { applyRest, CLUSTER, open, temporaryFolder } from './support/folder.ts';
import { randomHistory } from './support/history.ts';
import { watchedDatabase } from './support/watched-database.ts';

const history = randomHistory(41, 60);

interface Held {
  readonly machine: StateMachine;
  /** Writes wait until it is called, and fail then if they are told to. */
  readonly goOn: (error?: Error) => void;
  hold(): void;
}

async function held(folder: string): Promise<Held> {
  let gate: Promise<void> = Promise.resolve();
  let goOn: (error?: Error) => void = () => undefined;
  const openDatabase = watchedDatabase(() => gate);
  return {
    machine: await openStateMachine({ folder, clusterId: CLUSTER, openDatabase }),
    goOn: (error) => {
      goOn(error);
    },
    hold: () => {
      gate = new Promise((resolve, reject) => {
        goOn = (error) => {
          if (error === undefined) resolve();
          else reject(error);
        };
      });
      // It may never be waited for.
      gate.catch(() => undefined);
    },
  };
}

/** Puts of 8 KiB each. */
function puts(count: number): AppliedEntry[] {
  return Array.from({ length: count }, (_, at) => {
    const writes = encodeWrites([
      { path: `ns/key-${at}`, value: Buffer.alloc(8 * 1024, at), expected: undefined },
    ]);
    const operation = { type: 'kv.write', v: 1, writes } as const;
    const items = [{ session: 0, sequence: 0, operations: [operation] }];
    return { index: 1 + at, term: 1, data: encodeEntry({ logTimeMs: 1, wallMs: 1, items }) };
  });
}

rule('state.failedWriteUnnoticed', 'a crash before the write takes nothing that the log has', async () => {
  const folder = await temporaryFolder();
  const { machine, hold, goOn } = await held(`${folder}/state`);
  await machine.apply(history.slice(0, 20));
  await machine.snapshots.flush();
  hold();
  const replies = await machine.apply(history.slice(20, 40));
  expect(replies).toHaveLength(20);
  expect(machine.appliedIndex).toBe(40);
  const failures: unknown[] = [];
  machine.whenFailed((error) => failures.push(error));
  goOn(new Error('the disk failed'));
  await eventually(() => failures.length > 0, { withinMs: 1_000 });
  expect(failures).toMatchObject([{ code: 'STORAGE_FAILED' }]);
  // Nothing more is answered, and nothing more is written.
  await expect(machine.apply(history.slice(40))).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
  await machine.close();

  const again = await open(folder);
  expect(again.appliedIndex).toBe(20);
  await applyRest(again, history, 10);
  const whole = await open(await temporaryFolder());
  await applyRest(whole, history, 10);
  expect(again.view().digest).toBe(whole.view().digest);
  for (const one of [again, whole]) await one.close();
});

rule('state.behindUnbounded', 'what is not written yet is bounded: applying waits for the disk', async () => {
  const { machine, hold, goOn } = await held(`${await temporaryFolder()}/state`);
  hold();
  const count = 4 * Math.ceil(LIMITS.applyGroupBytesMax / (8 * 1024));
  let applied = false;
  const applying = machine.apply(puts(count)).then(() => (applied = true));
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  const [before, index] = [applied, machine.appliedIndex];
  goOn();
  await applying;
  await machine.close();
  expect(before).toBe(false);
  expect(index).toBeLessThan(count);
});

rule('state.behindNotAwaited', 'a snapshot and a flush have all that was applied', async () => {
  const { machine, hold, goOn } = await held(`${await temporaryFolder()}/state`);
  hold();
  for (const entry of history) await machine.apply([entry]);
  const [read, flushed] = [machine.snapshots.read(), machine.snapshots.flush()];
  goOn();
  const { index, chunks } = await read;
  for await (const chunk of chunks) expect(chunk.length).toBeGreaterThan(0);
  const durable = await flushed;
  await machine.close();
  expect([index, durable]).toEqual([history.length, history.length]);
});

rule('state.behindAwaitedToItsEnd', 'neither waits for what is applied after it was asked for', async () => {
  const busy: { machine?: StateMachine } = {};
  /** Before a write has ended, the next one gathers: as long as there are entries, one is under way. */
  const applyNext = async (): Promise<void> => {
    const next = history[busy.machine?.appliedIndex ?? history.length];
    if (next !== undefined) await busy.machine?.apply([next]);
  };
  const openDatabase = watchedDatabase(() => applyNext());
  const folder = `${await temporaryFolder()}/state`;
  const machine = await openStateMachine({ folder, clusterId: CLUSTER, openDatabase });
  busy.machine = machine;
  await applyNext();
  const [durable, { index, chunks }] = await Promise.all([
    machine.snapshots.flush(),
    machine.snapshots.read(),
  ]);
  for await (const chunk of chunks) expect(chunk.length).toBeGreaterThan(0);
  await machine.close();
  for (const reached of [durable, index]) expect(reached).toBeGreaterThan(0);
  for (const reached of [durable, index]) expect(reached).toBeLessThan(history.length);
});
