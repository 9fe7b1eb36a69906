import { expect, test } from 'vitest';
import { clusterId, logIndex, memberId, term } from '../../../src/base/index.ts';
import { makeEntry } from '../../../src/raft/entry.ts';
import { MemoryDisk, openLogStore } from '../../../src/raft/log-store/index.ts';
import { EntrySizes } from '../../../src/raft/log-store/entry-sizes.ts';
import { Chance } from '../simulation/loop.ts';
import { configurationOf } from '../support/membership.ts';

test('the bytes of a log are the sum of its entries, whatever is added and forgotten', () => {
  const chance = new Chance(3);
  const sizes = new EntrySizes();
  const model: { index: number; bytes: number }[] = [];
  let next = 1;
  for (let round = 0; round < 400; round++) {
    for (let count = chance.between(0, 60); count > 0; count--) {
      const entry = { index: next++, bytes: chance.between(1, 2 ** 20) };
      sizes.add(entry.index, entry.bytes);
      model.push(entry);
    }
    const forgotten = Math.min(model.length, chance.between(0, 50));
    const atEnd = chance.hits(0.2);
    const gone = atEnd ? model.splice(model.length - forgotten) : model.splice(0, forgotten);
    const [first, last] = [gone.at(0)?.index, gone.at(-1)?.index];
    if (first !== undefined && last !== undefined) sizes.forget(first, last);
    if (atEnd && first !== undefined) next = first;
    expect(sizes.total).toBe(model.reduce((sum, { bytes }) => sum + bytes, 0));
  }
});

test('compaction does not read what it forgets: entries of megabytes would hold up writes', async () => {
  const disk = new MemoryDisk({});
  const kv = disk.open();
  let reads = 0;
  const counting: typeof kv = {
    get: (key) => kv.get(key),
    scan: (range, visit) => {
      reads += 1;
      return kv.scan(range, visit);
    },
    write: (batch, options) => kv.write(batch, options),
    close: () => kv.close(),
  };
  const store = await openLogStore(counting, disk.openWitness(), {
    clusterId: clusterId('0123456789abcdef0123456789abcdef'),
    memberId: memberId(1),
    folder: '',
    mustExist: false,
    sync: true,
  });
  const entries = [1, 2, 3].map((index) => {
    return makeEntry(
      { index: logIndex(index), term: term(1), prevTerm: term(index === 1 ? 0 : 1) },
      Buffer.alloc(9),
    );
  });
  await store.write({ hardState: { term: term(1), vote: undefined }, log: { from: logIndex(1), entries } });
  reads = 0;
  const before = store.bytes;
  await store.write({
    hardState: undefined,
    log: undefined,
    compactTo: { index: logIndex(2), term: term(1), configuration: configurationOf({}) },
  });
  expect([reads, store.bytes]).toEqual([0, before / 3]);
  await store.close();
});
