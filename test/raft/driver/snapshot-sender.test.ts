import { expect, test } from 'vitest';
import { LIMITS, logIndex, memberId, term } from '../../../src/base/index.ts';
import type { SnapshotChunk } from '../../../src/raft/core/index.ts';
import { SnapshotPace } from '../../../src/raft/driver/snapshot-pace.ts';
import { SnapshotSender } from '../../../src/raft/driver/snapshot-sender.ts';
import { eventually } from '../../support/eventually.ts';
import { rule } from '../../support/rule.ts';
import { configurationOf } from '../support/membership.ts';

const PIECES = 60;
const TICKS_PER_SECOND = 1_000 / LIMITS.raftTickMs;

async function* pieces(): AsyncGenerator<Uint8Array, void, undefined> {
  const piece = Buffer.alloc(LIMITS.snapshotChunkBytesMax);
  for (let left = PIECES; left > 0; left--) yield await Promise.resolve(piece);
}

/** A stream to a follower that takes everything at once. */
function eagerly(to: number, pace: SnapshotPace, onSent: (piece: SnapshotChunk) => void): SnapshotSender {
  const sender: SnapshotSender = new SnapshotSender({
    to: memberId(to),
    term: term(1),
    stream: to,
    pace,
    open: () => Promise.resolve({ index: logIndex(9), term: term(1), chunks: pieces() }),
    configurationAt: () => configurationOf({ voters: [1, 2, 3] }),
    send: (piece) => {
      onSent(piece);
      setImmediate(() => {
        sender.onReply(piece.offset + piece.data.length);
      });
    },
    onFatal: (error) => {
      throw error;
    },
  });
  return sender;
}

test("stops when nothing is read any more, and what fails meanwhile is nobody's fault", async () => {
  let closed: (error: Error) => void = () => undefined;
  const reading = new Promise<never>((_resolve, reject) => (closed = reject));
  const fatal: unknown[] = [];
  async function* held(): AsyncGenerator<Uint8Array, void, undefined> {
    yield Buffer.from('a');
    yield await reading;
  }
  const sender = new SnapshotSender({
    to: memberId(2),
    term: term(1),
    stream: 1,
    pace: new SnapshotPace(),
    open: () => Promise.resolve({ index: logIndex(9), term: term(1), chunks: held() }),
    configurationAt: () => configurationOf({ voters: [1, 2, 3] }),
    send: () => undefined,
    onFatal: (error) => fatal.push(error),
  });
  await eventually(() => sender.lastIndex !== undefined, { withinMs: 5_000 });
  let stopped = false;
  const stop = sender.stop().then(() => (stopped = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(stopped).toBe(false);
  closed(new Error('the state was closed'));
  await stop;
  expect(fatal).toEqual([]);
});

test('is of no use once the log was compacted past its end while it opened', async () => {
  let closed = false;
  async function* past(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield await Promise.resolve(Buffer.from('a'));
    } finally {
      closed = true;
    }
  }
  const sender = new SnapshotSender({
    to: memberId(2),
    term: term(1),
    stream: 1,
    pace: new SnapshotPace(),
    open: () => Promise.resolve({ index: logIndex(9), term: term(1), chunks: past() }),
    configurationAt: () => undefined,
    send: () => expect.unreachable('nothing is sent of it'),
    onFatal: (error) => {
      throw error;
    },
  });
  expect(sender.serves(term(1), logIndex(3))).toBe(true);
  await eventually(() => closed, { withinMs: 5_000 });
  expect(sender.serves(term(1), logIndex(3))).toBe(false);
});

rule('raft.snapshotUnpaced', 'sends no more in a second than it may, to all followers together', async () => {
  const pace = new SnapshotPace();
  const sent = { bytes: 0, whole: 0 };
  const onSent = ({ data, end }: SnapshotChunk): void => {
    sent.bytes += data.length;
    if (end) sent.whole += 1;
  };
  const senders = [1, 2].map((to) => eagerly(to, pace, onSent));
  let ticks = 1;
  for (; sent.whole < 2 && ticks < 500; ticks++) {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    const allowed = (ticks * LIMITS.snapshotBytesPerSecond) / TICKS_PER_SECOND;
    // The last piece of a tick may go beyond it.
    expect(sent.bytes).toBeLessThanOrEqual(allowed + LIMITS.snapshotChunkBytesMax);
    pace.tick();
    for (const sender of senders) sender.tick();
  }
  expect(sent.whole).toBe(2);
  // Nor much less.
  expect(ticks).toBeLessThan((2.5 * TICKS_PER_SECOND * sent.bytes) / LIMITS.snapshotBytesPerSecond);
});
