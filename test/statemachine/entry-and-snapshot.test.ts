import { describe, expect, it } from 'vitest';
import { encode, isTidemarkError, LIMITS, type Encodable } from '../../src/base/index.ts';
import {
  decodeEntry,
  decodeReplies,
  encodeEntry,
  ENTRY_FORMAT,
  LogClock,
  type Entry,
  type Operation,
} from '../../src/statemachine/index.ts';
import { applyRest, open, restored, temporaryFolder } from './support/folder.ts';
import { randomHistory } from './support/history.ts';
import { jobOf } from './support/world.ts';

const entryOf = (...operations: readonly Operation[]): Entry => ({
  logTimeMs: 1,
  wallMs: 2,
  items: [{ session: 0, sequence: 0, operations }],
});
const open1: Operation = { type: 'session.open', v: 1, name: 'x' };

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isTidemarkError(error)) return error.code;
    throw error;
  }
  return 'none';
}

describe('an entry', () => {
  it('is read back as it was written', () => {
    const entry = entryOf(open1, jobOf());
    expect(decodeEntry(encodeEntry(entry))).toEqual(entry);
  });

  it.each<[string, unknown]>([
    ['a field is missing', { type: 'executor.expire', v: 1, executorId: 1 }],
    ['a number is no natural number', { type: 'sink.grant', v: 1, sinkId: -1 }],
    ['a number is a text', { type: 'sink.grant', v: 1, sinkId: '1' }],
    ['a token is none', { ...finish('0') }],
    ['a token has no term', { ...finish('17') }],
    ['a token has more than 63 bits', { ...finish('9223372036854775808') }],
    ['a state is not known', { ...finish('1099511627777'), state: 'OVER' }],
    ['a list holds something else', { ...jobOf(), sinks: [{ name: 'x' }] }],
    ['an inner object is missing', { ...jobOf(), topology: null }],
  ])('is refused by both sides when %s', (_what, operation) => {
    const entry = entryOf(operation as Operation);
    expect(codeOf(() => encodeEntry(entry))).toBe('BAD_REQUEST');
    expect(codeOf(() => decodeEntry(encode(ENTRY_FORMAT, entry as unknown as Encodable)))).toBe(
      'DATA_CORRUPT',
    );
  });

  it('of a later version is not guessed at', () => {
    const later = entryOf({ ...open1, v: 2 } as unknown as Operation);
    expect(codeOf(() => decodeEntry(encode(ENTRY_FORMAT, later as unknown as Encodable)))).toBe(
      'FORMAT_UNKNOWN',
    );
    const unknown = entryOf({ type: 'toString', v: 1 } as unknown as Operation);
    expect(codeOf(() => encodeEntry(unknown))).toBe('FORMAT_UNKNOWN');
    expect(codeOf(() => decodeEntry(encode(ENTRY_FORMAT + 1, {})))).toBe('FORMAT_UNKNOWN');
  });

  it('is bounded in operations and in bytes', () => {
    const many = entryOf(...Array.from({ length: LIMITS.opsPerEntryMax + 1 }, () => open1));
    expect(codeOf(() => encodeEntry(many))).toBe('MESSAGE_TOO_LARGE');
    const large = { ...open1, name: 'x'.repeat(LIMITS.raftEntryBytesMax) };
    expect(codeOf(() => encodeEntry(entryOf(large)))).toBe('MESSAGE_TOO_LARGE');
  });

  function finish(token: string): object {
    return { type: 'task.finish', v: 1, key: '1/1/1/0', version: 1, token, state: 'DONE' };
  }
});

describe('a reply', () => {
  it('is refused when it is none', () => {
    for (const value of [{}, ['x'], [encode(1, 'x')], [encode(1, ['x'])], [encode(1, [{ ok: false }])]]) {
      expect(codeOf(() => decodeReplies(encode(1, value)))).toBe('DATA_CORRUPT');
    }
    expect(decodeReplies(new Uint8Array())).toEqual([]);
  });
});

describe('log time', () => {
  it('is the last log time plus whole elapsed milliseconds', () => {
    const clock = new LogClock(1_000, 50);
    expect(clock.at(62.9, 1_000)).toBe(1_012);
    expect(() => clock.at(49, 1_000)).toThrow(/does not go back/);
  });

  it('goes on from what the state shows, if that is later, and never back', () => {
    const clock = new LogClock(1_000, 0);
    expect([clock.at(10, 2_000), clock.at(15, 2_000), clock.at(15, 0)]).toEqual([2_000, 2_005, 2_005]);
  });
});

describe('a snapshot', () => {
  const history = randomHistory(21, 120);

  async function chunksAt(index: number): Promise<{ chunks: Uint8Array[]; digest: string }> {
    const machine = await open(await temporaryFolder());
    await applyRest(machine, history.slice(0, index), 10);
    const { digest } = machine.view();
    const chunks: Uint8Array[] = [];
    const stream = machine.snapshot();
    for await (const chunk of stream) {
      // What is applied while the stream is read is not in it.
      if (chunks.length === 0) await applyRest(machine, history, 10);
      chunks.push(chunk);
    }
    await machine.close();
    return { chunks, digest };
  }

  async function* streamOf(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
    for (const chunk of chunks) yield Promise.resolve(chunk);
  }

  async function restore(chunks: readonly Uint8Array[], folder?: string) {
    const into = folder ?? (await temporaryFolder());
    return restored(into, streamOf(chunks));
  }

  it('is of one index, whatever is applied meanwhile, and survives a reopen', async () => {
    const { chunks, digest } = await chunksAt(60);
    const folder = await temporaryFolder();
    const machine = await restore(chunks, folder);
    expect(machine.appliedIndex).toBe(60);
    expect(machine.view().digest).toBe(digest);
    await expect(restore(chunks, folder)).rejects.toMatchObject({ code: 'DATA_IN_USE' });
    await machine.close();
    await expect(restore(chunks, folder)).rejects.toMatchObject({ code: 'ALREADY_INITIALIZED' });
  });

  it('is refused when a chunk is damaged, missing, doubled, out of place or of another version', async () => {
    const { chunks } = await chunksAt(60);
    const [head, rows, end] = chunks;
    if (head === undefined || rows === undefined || end === undefined) throw new Error('too few chunks');
    const flipped = Uint8Array.from(rows);
    flipped[100] = (flipped[100] ?? 0) ^ 1;
    for (const wrong of [
      [head, flipped, end],
      [head, end],
      [head, rows],
      [head, rows, rows, end],
      [rows, end],
      [],
    ]) {
      await expect(restore(wrong)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    }
    await expect(restore([head, rows, end, end])).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
  });

  it('leaves a folder without rows when it was refused, so that it can be tried again', async () => {
    const { chunks } = await chunksAt(60);
    const folder = await temporaryFolder();
    await expect(restore(chunks.slice(0, -1), folder)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    await (await restore(chunks, folder)).close();
  });
});
