import { expect, test } from 'vitest';
import {
  TidemarkError,
  isTidemarkError,
  LIMITS,
  logIndex,
  memberId,
  term,
  type MemberId,
} from '../../../src/base/index.ts';
import type { SnapshotChunk } from '../../../src/raft/core/index.ts';
import { SnapshotReceiver } from '../../../src/raft/driver/snapshot-receiver.ts';
import { configurationOf } from '../support/membership.ts';
import { eventually } from '../../support/eventually.ts';
import { rule } from '../../support/rule.ts';

interface Piece {
  readonly stream: number;
  readonly offset: number;
  readonly text: string;
  readonly end?: boolean;
  readonly term?: number;
}

const chunk = ({ stream, offset, text, end = false, term: of = 1 }: Piece): SnapshotChunk => ({
  type: 'snapshot-chunk',
  term: term(of),
  stream,
  lastIndex: logIndex(9),
  lastTerm: term(1),
  offset,
  end,
  configuration: configurationOf({ voters: [1, 2, 3] }),
  data: Buffer.from(text),
});

const noFatal = (error: unknown): void => {
  throw error;
};

/** What is answered at once. */
function offered(receiver: SnapshotReceiver, from: MemberId, piece: SnapshotChunk): number | undefined {
  let answered: number | undefined;
  receiver.take(from, piece, (offset) => (answered = offset));
  return answered;
}

test('a piece of another stream, term or sender never continues the one that is open [R44]', async () => {
  const [whole, refused]: [string[], unknown[]] = [[], []];
  const receiver = new SnapshotReceiver({
    prepare: async (chunks) => {
      let text = '';
      for await (const piece of chunks) text += Buffer.from(piece).toString();
      whole.push(text);
      return { index: logIndex(9), term: term(1), install: () => Promise.resolve() };
    },
    install: () => Promise.resolve(),
    onFatal: noFatal,
    onRefused: (error) => refused.push(error),
  });
  const [one, two] = [memberId(1), memberId(2)];
  expect(offered(receiver, one, chunk({ stream: 1, offset: 0, text: 'ab' }))).toBe(2);
  // Doubled, and beyond the next: what is wanted is said again.
  expect(offered(receiver, one, chunk({ stream: 1, offset: 0, text: 'ab' }))).toBe(2);
  expect(offered(receiver, one, chunk({ stream: 1, offset: 4, text: 'ef' }))).toBe(2);
  // At the right place, but of others: they must begin at their own beginning.
  expect(offered(receiver, one, chunk({ stream: 2, offset: 2, text: 'XX' }))).toBe(0);
  expect(offered(receiver, one, chunk({ stream: 1, offset: 2, text: 'XX', term: 2 }))).toBe(0);
  expect(offered(receiver, two, chunk({ stream: 1, offset: 2, text: 'XX' }))).toBe(0);
  expect(offered(receiver, two, chunk({ stream: 1, offset: 0, text: 'cd', end: true }))).toBe(2);
  await eventually(() => whole.length > 0, { withinMs: 5_000 });
  expect(whole).toEqual(['cd']);
  expect(refused.every((error) => isTidemarkError(error, 'CANCELLED'))).toBe(true);
});

test('stops when the state is not touched any more', async () => {
  let cleaned = (): void => undefined;
  const cleaning = new Promise<void>((resolve) => (cleaned = resolve));
  const receiver = new SnapshotReceiver({
    prepare: async (pieces) => {
      const taken: Uint8Array[] = [];
      try {
        for await (const one of pieces) taken.push(one);
      } finally {
        await cleaning;
      }
      throw new Error('the pieces never end');
    },
    install: () => Promise.resolve(),
    onFatal: noFatal,
    onRefused: noFatal,
  });
  offered(receiver, memberId(1), chunk({ stream: 1, offset: 0, text: 'ab' }));
  let stopped = false;
  const stop = receiver.stop().then(() => (stopped = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(stopped).toBe(false);
  cleaned();
  await stop;
});

test('answers what follows of a stream that it refused with the code', async () => {
  const refused: unknown[] = [];
  const receiver = new SnapshotReceiver({
    prepare: () => Promise.reject(new TidemarkError('DATA_CORRUPT', 'not this one')),
    install: () => Promise.resolve(),
    onFatal: noFatal,
    onRefused: (error) => refused.push(error),
  });
  const answers: unknown[] = [];
  const take = (piece: Piece): void => {
    receiver.take(memberId(1), chunk(piece), (...answer) => answers.push(answer));
  };
  take({ stream: 1, offset: 0, text: 'ab' });
  await eventually(() => refused.length > 0, { withinMs: 5_000 });
  take({ stream: 1, offset: 2, text: 'cd' });
  take({ stream: 2, offset: 0, text: 'ef' });
  expect(answers).toEqual([[2], [0, 'DATA_CORRUPT'], [2]]);
});

rule('raft.snapshotNotPaced', 'asks for no more pieces than the disk keeps up with', async () => {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const taken: Uint8Array[] = [];
  const receiver = new SnapshotReceiver({
    prepare: async (pieces) => {
      await held;
      for await (const one of pieces) taken.push(one);
      return { index: logIndex(9), term: term(1), install: () => Promise.resolve() };
    },
    install: () => Promise.resolve(),
    onFatal: noFatal,
    onRefused: () => undefined,
  });
  let asked = 0;
  const send = (): void => {
    const piece = chunk({ stream: 1, offset: asked, text: 'x', end: asked === 29 });
    receiver.take(memberId(2), piece, (offset) => (asked = offset));
  };
  for (let sent = 0; sent < 30; sent++) send();
  expect(asked).toBe(LIMITS.snapshotPiecesWaitingMax);
  release();
  const all = (): boolean => {
    if (asked < 30) send();
    return taken.length === 30;
  };
  await eventually(all, { withinMs: 5_000 });
});

rule(
  'raft.failedInstallIgnored',
  'a disk that fails while a snapshot is taken over ends the process',
  async () => {
    const [refused, fatal]: [unknown[], unknown[]] = [[], []];
    const receiver = new SnapshotReceiver({
      prepare: () => Promise.reject(new TidemarkError('STORAGE_FAILED', 'the disk failed')),
      install: () => Promise.resolve(),
      onRefused: (error) => refused.push(error),
      onFatal: (error) => fatal.push(error),
    });
    offered(receiver, memberId(1), chunk({ stream: 1, offset: 0, text: 'ab' }));
    await eventually(() => refused.length + fatal.length > 0, { withinMs: 5_000 });
    expect([refused.length, fatal.length]).toEqual([0, 1]);
  },
);
