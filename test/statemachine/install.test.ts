import { describe, expect, it } from 'vitest';
import { isTidemarkError, LIMITS } from '../../src/base/index.ts';
import { openStateMachine, type StateDatabase, type StateMachine } from '../../src/statemachine/index.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';
import { applyRest, CLUSTER, open, temporaryFolder, written } from './support/folder.ts';
import { randomHistory } from './support/history.ts';
import { watchedDatabase } from './support/watched-database.ts';

const history = randomHistory(23, 120);
const early = history.slice(0, 40);

async function chunksOf(chunks: AsyncIterable<Uint8Array>): Promise<readonly Uint8Array[]> {
  const list: Uint8Array[] = [];
  for await (const chunk of chunks) list.push(chunk);
  return list;
}

async function* stream(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}

describe('a snapshot that takes the place of an older state', () => {
  it('is the whole state, also after a restart, and says so until something is applied [R38]', async () => {
    const source = await open(await temporaryFolder());
    await applyRest(source, history, 5);
    const snapshot = await source.snapshots.read();
    const folder = await temporaryFolder();
    let behind = await open(folder);
    await applyRest(behind, early, 5);

    const prepared = await behind.snapshots.prepare(snapshot.chunks);
    expect(behind.appliedIndex).toBe(early.at(-1)?.index);
    await prepared.install();
    expect(behind.appliedIndex).toBe(snapshot.index);
    expect(behind.view().digest).toBe(source.view().digest);
    await behind.close();

    behind = await open(folder);
    expect(behind.view().digest).toBe(source.view().digest);
    expect(behind.snapshots.installed).toEqual({ index: snapshot.index, term: snapshot.term });
    await behind.apply([{ index: snapshot.index + 1, term: snapshot.term, data: new Uint8Array(0) }]);
    expect(behind.snapshots.installed).toBeUndefined();
    await behind.close();
    await source.close();
  });

  it('that is damaged or cut off changes nothing [R40 R44]', async () => {
    const source = await open(await temporaryFolder());
    await applyRest(source, history, 5);
    const chunks = await chunksOf((await source.snapshots.read()).chunks);
    const behind = await open(await temporaryFolder());
    await applyRest(behind, early, 5);
    const { digest } = behind.view();
    const flipped = chunks.map((chunk, at) => (at === 1 ? chunk.map((byte) => byte ^ 1) : chunk));
    for (const bad of [flipped, chunks.slice(0, -1), chunks.slice(1)]) {
      const failed = await behind.snapshots.prepare(stream(bad)).catch((error: unknown) => error);
      expect(isTidemarkError(failed)).toBe(true);
    }
    expect(behind.view().digest).toBe(digest);
    expect(behind.appliedIndex).toBe(early.at(-1)?.index);
    await behind.close();
    await source.close();
  });

  it('is a cut: what is applied while it is read is not in it [R38]', async () => {
    const source = await open(await temporaryFolder());
    await applyRest(source, early, 5);
    const before = source.view().digest;
    const snapshot = await source.snapshots.read();
    await applyRest(source, history, 5);
    const other = await open(await temporaryFolder());
    await (await other.snapshots.prepare(snapshot.chunks)).install();
    expect(other.view().digest).toBe(before);
    expect(await source.snapshots.flush()).toBe(source.appliedIndex);
    await other.close();
    await source.close();
  });
});

/** A machine whose database ends, as its process might, before its `left`th write from now. */
async function fragile(folder: string): Promise<Fragile> {
  const watched: Watched = {
    left: Infinity,
    asked: 0,
    writes: 0,
    bytesMax: 0,
    keys: () => {
      throw new Error('not open yet');
    },
  };
  const openDatabase = watchedDatabase(
    async ({ bytes }) => {
      watched.asked += 1;
      await watched.held;
      watched.writes += 1;
      watched.bytesMax = Math.max(watched.bytesMax, bytes);
      if (--watched.left < 0) throw new Error('the process has ended');
    },
    (db) => {
      watched.keys = (range) => db.keys(range);
    },
  );
  return { machine: await openStateMachine({ folder, clusterId: CLUSTER, openDatabase }), watched };
}

interface Watched {
  left: number;
  asked: number;
  writes: number;
  bytesMax: number;
  keys: StateDatabase['keys'];
  /** Writes go on when it resolves. */
  held?: Promise<void>;
}

interface Fragile {
  readonly machine: StateMachine;
  readonly watched: Watched;
}

describe('a snapshot of many rows', () => {
  const large = randomHistory(29, 600);
  const begun = large.slice(0, 40);

  async function source(): Promise<StateMachine> {
    const machine = await open(await temporaryFolder());
    await applyRest(machine, large, 50);
    return machine;
  }

  it('goes to disk in batches of bounded size', async () => {
    const machine = await source();
    const folder = await temporaryFolder();
    const behind = await fragile(folder);
    await applyRest(behind.machine, begun, 5);
    const { chunks } = await machine.snapshots.read();
    behind.watched.bytesMax = 0;
    await (await behind.machine.snapshots.prepare(chunks)).install();
    expect(behind.watched.writes).toBeGreaterThan(3);
    expect(behind.watched.bytesMax).toBeLessThan(LIMITS.applyGroupBytesMax + LIMITS.sessionReplyBytesMax);
    expect(behind.machine.view().digest).toBe(machine.view().digest);
    await behind.machine.close();
    await machine.close();
  });

  rule(
    'state.installInPlace',
    'whenever the process ends, leaves the old state or the new [R40]',
    async () => {
      const machine = await source();
      const digests = new Set<string>();
      let survived = false;
      for (let left = 0; !survived; left++) {
        const folder = await temporaryFolder();
        const { machine: behind, watched } = await fragile(folder);
        await applyRest(behind, begun, 5);
        await written(behind);
        const old = behind.view().digest;
        watched.left = left;
        const { chunks } = await machine.snapshots.read();
        const installed = behind.snapshots.prepare(chunks).then((prepared) => prepared.install());
        survived = await installed.then(
          () => true,
          () => false,
        );
        await behind.close();
        const again = await openStateMachine({ folder, clusterId: CLUSTER });
        expect(again.view().digest).toBe(survived ? machine.view().digest : old);
        digests.add(again.view().digest);
        await applyRest(again, large, 50);
        expect(again.view().digest).toBe(machine.view().digest);
        await again.close();
      }
      expect(digests.size).toBe(2);
      await machine.close();
    },
  );

  rule(
    'state.sweepBesideWrites',
    'has no rows of one that was given up while they were written',
    async () => {
      const machine = await source();
      const early = await open(await temporaryFolder());
      await applyRest(early, large.slice(0, 300), 50);
      const [first, second] = [await machine.snapshots.read(), await early.snapshots.read()];
      const folder = await temporaryFolder();
      const { machine: behind, watched } = await fragile(folder);
      await applyRest(behind, begun, 5);
      let goOn: () => void = () => undefined;
      watched.held = new Promise((resolve) => {
        goOn = resolve;
      });
      watched.asked = 0;
      const givenUp = behind.snapshots.prepare(first.chunks).catch((error: unknown) => error);
      await eventually(() => watched.asked > 0, { withinMs: 5_000 });
      const prepared = behind.snapshots.prepare(second.chunks);
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      goOn();
      await (await prepared).install();
      expect(await givenUp).toMatchObject({ code: 'CANCELLED' });
      await behind.close();
      const again = await openStateMachine({ folder, clusterId: CLUSTER });
      expect(again.view().digest).toBe(early.view().digest);
      for (const one of [again, early, machine]) await one.close();
    },
  );

  it('leaves nothing of the state before it', async () => {
    const machine = await source();
    const { machine: behind, watched } = await fragile(await temporaryFolder());
    await applyRest(behind, begun, 5);
    const rows = async (): Promise<number> => {
      let count = 0;
      for await (const key of watched.keys({ gte: '+', lt: '{' })) count += key.length > 0 ? 1 : 0;
      return count;
    };
    const counts = new Set<number>();
    for (let round = 0; round < 3; round++) {
      const { chunks } = await machine.snapshots.read();
      const prepared = await behind.snapshots.prepare(chunks);
      const beside = await rows();
      await prepared.install();
      await eventually(async () => (await rows()) < beside, { withinMs: 5_000 });
      counts.add(await rows());
    }
    expect(counts.size).toBe(1);
    await behind.close();
    await machine.close();
  });
});
