/** The core beside a log store: what a crash at any write leaves behind. */
import { describe, expect, test } from 'vitest';
import { memberId, must } from '../../../src/base/index.ts';
import type { Effects, Message } from '../../../src/raft/core/index.ts';
import { WriteQueue } from '../../../src/raft/driver/write-queue.ts';
import { MemoryDisk, openLogStore, type LogStore } from '../../../src/raft/log-store/index.ts';
import { rule } from '../../support/rule.ts';
import { CLUSTER } from '../support/grpc-cluster.ts';
import { configurationOf } from '../support/membership.ts';
import { I, T, TestCore, append, heartbeat, sent } from './harness.ts';

const vote = (term: number): Message => ({
  type: 'vote',
  transfer: false,
  term: T(term),
  lastIndex: I(0),
  lastTerm: T(0),
});

function open(disk: MemoryDisk): Promise<LogStore> {
  const options = { clusterId: CLUSTER, memberId: memberId(1), folder: '', mustExist: false, sync: true };
  return openLogStore(disk.open(), disk.openWitness(), options);
}

/** Does the writes of these steps as the driver does, and loses power after the first `count` of them. */
async function crashAfter(count: number, steps: readonly Effects[]): Promise<LogStore> {
  const disk = new MemoryDisk();
  const store = await open(disk);
  const queue = new WriteQueue();
  for (const { persist } of steps.slice(0, count)) {
    queue.add(must(persist, 'a write'));
    await store.write(must(queue.begin(), 'a write').write);
    queue.complete();
  }
  disk.crash(0);
  return open(disk);
}

rule('raft.voteNotPersisted', 'a vote whose answer never left is remembered after a kill [R2]', async () => {
  const core = new TestCore();
  const asked = core.receive(2, vote(5));
  expect(asked.sendNow).toEqual([]);
  const { hardState } = await crashAfter(1, [asked]);
  const again = new TestCore({ term: hardState.term, ...(hardState.vote && { vote: hardState.vote }) });
  const granted = (from: number): unknown => sent(again.receive(from, vote(5))).map(([, message]) => message);
  expect(granted(3)).toEqual([{ type: 'vote-reply', term: 5, granted: false }]);
  expect(granted(2)).toEqual([{ type: 'vote-reply', term: 5, granted: true }]);
});

describe('the term of an entry is on disk with it or before it [R21]', () => {
  test.each<[string, (core: TestCore) => readonly Effects[]]>([
    ['when the append brings the term', (core) => [core.receive(2, append(3, { prev: [0, 0], terms: [3] }))]],
    [
      'when a vote brought it',
      (core) => [core.receive(2, vote(3)), core.receive(2, append(3, { prev: [0, 0], terms: [3] }))],
    ],
    [
      'when a heartbeat brought it, and the next leader another',
      (core) => [
        core.receive(2, heartbeat(2)),
        core.receive(2, append(2, { prev: [0, 0], terms: [2, 2] })),
        core.receive(3, append(4, { prev: [1, 2], terms: [4] })),
      ],
    ],
  ])('%s', async (_name, of) => {
    const steps = of(new TestCore());
    for (let count = 0; count <= steps.length; count++) {
      const store = await crashAfter(count, steps);
      expect(store.hardState.term).toBeGreaterThanOrEqual(
        store.takeView(configurationOf({ voters: [1, 2, 3] })).lastTerm,
      );
    }
  });
});

test('a late write of an earlier term vouches for none of the entries that took its place [R26]', () => {
  const core = new TestCore({ log: [1] }).lead();
  const own = must(core.log.at(-1)?.persist ?? core.log.at(-2)?.persist, 'the write of the no-op').sequence;
  const replaced = core.receive(3, append(3, { prev: [1, 1], terms: [3, 3], commit: 3 }));
  expect([core.core.commitIndex, core.core.applicableIndex]).toEqual([3, 1]);
  core.step({ type: 'persisted', sequence: own });
  expect(core.core.applicableIndex).toBe(1);
  core.step({ type: 'persisted', sequence: must(replaced.persist, 'its write').sequence });
  expect(core.core.applicableIndex).toBe(3);
});
