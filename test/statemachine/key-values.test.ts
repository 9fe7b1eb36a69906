import { describe, expect, it } from 'vitest';
import {
  decodeWritten,
  encodeWrites,
  keyValuePath,
  LIMITS,
  type KeyValueWrite,
  type KeyValueWritten,
} from '../../src/base/index.ts';
import { applyEntry, encodeEntry, idKey, MemoryState, type Operation } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { open, restored, temporaryFolder } from './support/folder.ts';
import { World } from './support/world.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);
const put = (key: string, value: string, expected?: number): KeyValueWrite => ({
  path: keyValuePath('test', key),
  value: bytes(value),
  expected,
});
const remove = (key: string, expected?: number): KeyValueWrite => ({
  path: keyValuePath('test', key),
  value: undefined,
  expected,
});
const operation = (...writes: KeyValueWrite[]): Operation => ({
  type: 'kv.write',
  v: 1,
  writes: encodeWrites(writes),
});

function write(world: World, ...writes: KeyValueWrite[]): KeyValueWritten[] {
  return decodeWritten(world.accept(operation(...writes))['results'] as Uint8Array);
}

const bytesOf = (world: World, key: string): Uint8Array | undefined =>
  world.state.keyValues.get(keyValuePath('test', key))?.value;
const valueOf = (world: World, key: string): string => Buffer.from(bytesOf(world, key) ?? []).toString();

describe('key-value writes', () => {
  it('put, overwrite and delete, each under a revision of its own', () => {
    const world = new World();
    expect(write(world, put('a', 'one'), put('a', 'two'))).toEqual([
      { applied: true, revision: 1, previous: 0 },
      { applied: true, revision: 2, previous: 1 },
    ]);
    expect(world.state.keyValues.get('test/a')).toEqual({ value: bytes('two'), revision: 2, version: 2 });
    expect(write(world, remove('a'), remove('a'), put('a', 'three'))).toEqual([
      { applied: true, revision: 0, previous: 2 },
      { applied: true, revision: 0, previous: 0 },
      { applied: true, revision: 4, previous: 0 },
    ]);
    expect(world.state.keyValues.get('test/a')).toEqual({ value: bytes('three'), revision: 4, version: 1 });
  });

  rule('state.compareIgnored', 'compare with the revision, also within one batch', () => {
    const world = new World();
    expect(write(world, put('a', 'mine', 0), put('a', 'other'), put('a', 'lost', 1))).toEqual([
      { applied: true, revision: 1, previous: 0 },
      { applied: true, revision: 2, previous: 1 },
      { applied: false, revision: 2, previous: 2 },
    ]);
    expect(valueOf(world, 'a')).toBe('other');
    expect(write(world, put('a', 'new', 0), remove('a', 1))).toMatchObject([
      { applied: false },
      { applied: false },
    ]);
    expect(write(world, remove('a', 2))).toMatchObject([{ applied: true, revision: 0 }]);
  });

  it('keep any bytes', () => {
    const world = new World();
    const value = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    write(world, { path: 'test/b', value, expected: undefined });
    expect(bytesOf(world, 'b')).toEqual(Buffer.from(value));
  });

  it('are refused as a whole when one of them is malformed, too long or too many', () => {
    const world = new World();
    const bad: Operation = { type: 'kv.write', v: 1, writes: Uint8Array.of(1, 2, 3) };
    expect(world.refuse(bad)).toBe('BAD_REQUEST');
    const long = new Uint8Array(LIMITS.keyValueBytesMax + 1);
    const wrong: KeyValueWrite[] = [
      { path: 'noslash', value: bytes('x'), expected: undefined },
      { path: 'test/', value: bytes('x'), expected: undefined },
      { path: `test/${'k'.repeat(LIMITS.keyBytesMax)}`, value: bytes('x'), expected: undefined },
      { path: 'test/long', value: long, expected: undefined },
    ];
    for (const one of wrong) expect(world.refuse(operation(put('a', 'x'), one))).toBe('BAD_REQUEST');
    const many = Array.from({ length: LIMITS.keyValueWritesPerBatchMax + 1 }, () => put('a', 'x'));
    expect(world.refuse(operation(...many))).toBe('BAD_REQUEST');
  });

  it('count the bytes of the table', () => {
    const world = new World();
    write(world, put('a', '12345'), put('b', '1'), put('a', '1'), remove('b'));
    expect(world.state.keyValueBytes).toBe('test/a'.length + 1);
  });
});

describe('a session of a client', () => {
  const entryOf = (session: number, sequence: number, acked: number) => ({
    logTimeMs: 1,
    wallMs: 1,
    items: [{ session, sequence, acked, operations: [operation(put('n', `${sequence}`))] }],
  });
  const state = (): MemoryState => {
    const made = new MemoryState();
    const opened: Operation = { type: 'session.open', v: 1, name: 'c' };
    const items = [{ session: 0, sequence: 0, operations: [opened] }];
    applyEntry(made, { logTimeMs: 1, wallMs: 1, items }, { index: 1, term: 1 });
    return made;
  };

  rule('state.sessionNotDeduplicated', 'writes once however often it asks [R65]', () => {
    const made = state();
    const [first] = applyEntry(made, entryOf(1, 1, 0), { index: 2, term: 1 });
    const [again] = applyEntry(made, entryOf(1, 1, 0), { index: 3, term: 1 });
    expect(again).toEqual(first);
    expect(made.cluster.revision).toBe(1);
  });

  it('keeps answers until the client has them, and runs none of those again [R66]', () => {
    const made = state();
    for (const sequence of [1, 2, 3]) {
      applyEntry(made, entryOf(1, sequence, 0), { index: 1 + sequence, term: 1 });
    }
    applyEntry(made, entryOf(1, 4, 2), { index: 5, term: 1 });
    expect(made.sessions.get(idKey(1))?.replies.map(({ sequence }) => sequence)).toEqual([3, 4]);
    applyEntry(made, entryOf(1, 2, 0), { index: 6, term: 1 });
    expect(made.cluster.revision).toBe(4);
    expect(made.keyValues.get('test/n')?.value).toEqual(bytes('4'));
  });
});

describe('the database of keys', () => {
  it('comes back with the same digest after a restart and from a snapshot [R65]', async () => {
    const folder = await temporaryFolder();
    const machine = await open(folder);
    const writes = Array.from({ length: 300 }, (_, n) => put(`k${n % 200}`, `v${n}\u00ff`));
    for (const [at, one] of [writes, [remove('k7')]].entries()) {
      const items = [{ session: 0, sequence: 0, operations: [operation(...one)] }];
      const data = encodeEntry({ logTimeMs: at, wallMs: 0, items });
      await machine.apply([{ index: at + 1, term: 1, data }]);
    }
    const { digest } = machine.view();
    const chunks: Uint8Array[] = [];
    for await (const chunk of machine.snapshot()) chunks.push(chunk);
    await machine.close();
    const list = async function* (): AsyncGenerator<Uint8Array> {
      yield* chunks;
    };
    for (const opened of [await open(folder), await restored(await temporaryFolder(), list())]) {
      const view = opened.view();
      expect([view.digest, view.keyValues.size]).toEqual([digest, 199]);
      expect(view.cluster.revision).toBe(301);
      await opened.close();
    }
  });
});
