import { afterEach, describe, expect, test } from 'vitest';
import { setMutation } from '../../../src/base/test-build-active.ts';
import type { Append } from '../../../src/raft/core/index.ts';
import {
  ELECTION_TICKS,
  HEARTBEAT_TICKS,
  I,
  M,
  T,
  TestCore,
  accepted,
  append,
  entriesOf,
  heartbeat,
  sent,
  settle,
} from './harness.ts';

afterEach(() => {
  setMutation('raft.commitBeyondVerified', false);
  setMutation('raft.commitOlderTermByCounting', false);
});

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('a new leader', () => {
  test('appends a no-op and is established only when it is committed [R20]', () => {
    const core = new TestCore({ log: [1, 1] }).lead();
    expect([core.core.role, core.core.term, core.core.ownTermIndex]).toEqual(['leader', 2, 3]);
    expect(core.terms()).toEqual([1, 1, 2]);
    expect(core.core.established).toBe(false);
    core.persisted();
    expect(core.core.established).toBe(false);
    core.receive(2, accepted(2, 3));
    expect([core.core.commitIndex, core.core.established]).toEqual([3, true]);
  });

  test('its own acknowledgement comes with its own disk [R27]', () => {
    const core = new TestCore().lead();
    core.receive(2, accepted(1, 1));
    expect(core.core.commitIndex).toBe(0);
    core.persisted();
    expect(core.core.commitIndex).toBe(1);
  });

  test('two followers are a majority without its disk, but nothing is applied before it has it [R37]', () => {
    const core = new TestCore().lead();
    core.receive(2, accepted(1, 1));
    core.receive(3, accepted(1, 1));
    expect([core.core.commitIndex, core.core.applicableIndex]).toEqual([1, 0]);
    core.persisted();
    expect(core.core.applicableIndex).toBe(1);
  });

  test('a single member commits by its disk alone [R17]', () => {
    const core = new TestCore({ size: 1 });
    core.tick();
    core.persisted();
    core.step({ type: 'propose', data: [bytes('a')] });
    expect(core.core.commitIndex).toBe(0);
    core.persisted();
    expect(core.core.commitIndex).toBe(2);
  });
});

describe('commit by counting', () => {
  /** Figure 8 of the paper: an entry of term 2 on a majority is not committed by the leader of term 4. */
  function figure8(): TestCore {
    const core = new TestCore({ size: 5, log: [1, 2], term: 3 }).lead();
    core.persisted();
    core.receive(2, accepted(4, 2));
    core.receive(3, accepted(4, 2));
    return core;
  }

  test('counts only entries of its own term; older ones follow [R19]', () => {
    const core = figure8();
    expect(core.core.commitIndex).toBe(0);
    core.receive(2, accepted(4, 3));
    core.receive(3, accepted(4, 3));
    expect(core.core.commitIndex).toBe(3);
  });

  test('this test fails without the rule', () => {
    setMutation('raft.commitOlderTermByCounting', true);
    expect(figure8().core.commitIndex).toBe(2);
  });
});

describe('a follower', () => {
  test('acknowledges only what is on disk, and only what the append proved [R25]', () => {
    const core = new TestCore({ log: [1, 1, 1, 1] });
    const effects = core.receive(2, append(2, { prev: [2, 1], terms: [1] }));
    expect(effects.sendNow).toEqual([]);
    expect(effects.sendAfterDurable).toEqual([{ to: 2, message: accepted(2, 3) }]);
  });

  test('a delayed, shorter append takes nothing away [R22]', () => {
    const core = new TestCore({ log: [1, 1, 1, 1] });
    const effects = core.receive(2, append(1, { prev: [0, 0], terms: [1, 1] }));
    expect(core.terms()).toEqual([1, 1, 1, 1]);
    expect(effects.persist).toBeUndefined();
  });

  test('a conflict replaces the end from the first entry that differs', () => {
    const core = new TestCore({ log: [1, 1, 2, 2] });
    const effects = core.receive(2, append(3, { prev: [1, 1], terms: [1, 3] }));
    expect(core.terms()).toEqual([1, 1, 3]);
    expect(effects.persist?.log?.from).toBe(3);
    expect(effects.persist?.log?.entries.map(({ index }) => index)).toEqual([3]);
  });

  test('never commits beyond what the append proved [R23]', () => {
    const run = (): number => {
      const core = new TestCore({ log: [1, 1, 1, 1] });
      core.receive(2, append(2, { prev: [2, 1], commit: 4, terms: [] }));
      return core.core.commitIndex;
    };
    expect(run()).toBe(2);
    setMutation('raft.commitBeyondVerified', true);
    expect(run()).toBe(4);
  });

  test('a committed entry that would be replaced ends the node', () => {
    const core = new TestCore({ log: [1, 1] });
    core.receive(2, append(1, { prev: [2, 1], commit: 2 }));
    expect(() => core.receive(3, append(2, { prev: [1, 1], terms: [2] }))).toThrow(/committed/);
  });

  test('answers a heartbeat at once while its disk is slow, unless its term is not on it', () => {
    const core = new TestCore({ log: [1] });
    expect(core.receive(2, heartbeat(2)).sendNow).toEqual([]);
    core.persisted();
    core.receive(2, append(2, { prev: [1, 1], terms: [2] }));
    expect(core.receive(2, heartbeat(2, 0, 5)).sendNow).toEqual([
      { to: 2, message: { type: 'heartbeat-reply', term: 2, round: 5 } },
    ]);
  });
});

describe('replication', () => {
  test('has one append under way; what is proposed meanwhile goes with the next', () => {
    const core = new TestCore().lead();
    core.persisted();
    for (const text of ['a', 'b', 'c'])
      expect(core.step({ type: 'propose', data: [bytes(text)] }).sendNow).toEqual([]);
    const [[to, message] = []] = sent(core.receive(2, accepted(1, 1)));
    expect(to).toBe(2);
    expect((message as Append).entries.map(({ index }) => index)).toEqual([2, 3, 4]);
  });

  test('an append that is never answered is sent again while the follower answers heartbeats', () => {
    const core = new TestCore().lead();
    core.tick(ELECTION_TICKS / 2);
    const again = sent(core.receive(2, { type: 'heartbeat-reply', term: T(1), round: 0 }));
    expect(again.map(([to, { type }]) => [to, type])).toEqual([[2, 'append']]);
  });

  test('a doubled or late acknowledgement changes nothing [R32 R34]', () => {
    const core = new TestCore({ log: [1, 1, 1] }).lead();
    core.persisted();
    core.receive(2, accepted(2, 4));
    expect(core.core.commitIndex).toBe(4);
    expect(sent(core.receive(2, accepted(2, 2)))).toEqual([]);
    expect(sent(core.receive(2, accepted(1, 4)))).toEqual([]);
    core.step({ type: 'propose', data: [bytes('a')] });
    const [[, message] = []] = sent(core.receive(2, accepted(2, 5)));
    expect(message).toBeUndefined();
    expect(core.core.commitIndex).toBe(4);
    core.persisted();
    expect(core.core.commitIndex).toBe(5);
  });

  test('a heartbeat never tells a follower to commit what it may not have [R24]', () => {
    const core = new TestCore({ log: [1, 1] }).lead();
    core.persisted();
    core.receive(2, accepted(2, 3));
    const beats = core.tick(HEARTBEAT_TICKS).flatMap(sent);
    expect(beats.map(([to, message]) => [to, message.type === 'heartbeat' && message.commit])).toEqual([
      [2, 3],
      [3, 0],
    ]);
  });

  test('logs that differ in a hundred thousand entries meet within 20 rounds [R30]', () => {
    const length = 100_000;
    const shared = [1, 1, 1];
    const part = (terms: readonly number[]): readonly number[] =>
      terms.flatMap((term) => Array.from({ length: length / terms.length }, () => term));
    const leader = new TestCore({ id: 1, log: [...shared, ...part([3, 5, 7, 9, 11])], term: 12 });
    const follower = new TestCore({ id: 2, log: [...shared, ...part([2, 4, 6, 8, 10])], term: 12 });
    leader.lead();
    const first = leader.log.findLast(({ sendNow }) =>
      sendNow.some(({ message }) => message.type === 'append'),
    );
    let rounds = 0;
    let waiting = first === undefined ? [] : sent(first).filter(([to]) => to === 2);
    while (follower.core.termAt(I(4)) !== 3 && waiting.length > 0) {
      rounds++;
      const replies = waiting.flatMap(([, message]) => sent(follower.receive(1, message)));
      waiting = replies.flatMap(([, message]) => sent(leader.receive(2, message))).filter(([to]) => to === 2);
    }
    expect(follower.core.termAt(I(4))).toBe(3);
    expect(rounds).toBeLessThan(20);
  });

  test('a lagging follower ends up with the leader’s log and commit', () => {
    const leader = new TestCore({ id: 1, log: [1, 1, 2, 2, 4], term: 4 });
    const behind = new TestCore({ id: 2, log: [1, 1] });
    const diverged = new TestCore({ id: 3, log: [1, 1, 3, 3, 3, 3] });
    leader.lead();
    const first = leader.log.findLast(({ sendNow }) =>
      sendNow.some(({ message }) => message.type === 'append'),
    );
    settle([leader, behind, diverged], first === undefined ? [] : [[1, first]]);
    leader.persisted();
    settle(
      [leader, behind, diverged],
      leader.tick(HEARTBEAT_TICKS).map((effects) => [1, effects]),
    );
    for (const core of [leader, behind, diverged]) {
      expect(core.terms()).toEqual([1, 1, 2, 2, 4, 5]);
      expect(core.core.commitIndex).toBe(6);
    }
  });
});

describe('check-quorum', () => {
  test('a leader that hears no majority steps down within an election timeout [R14]', () => {
    const core = new TestCore().lead();
    core.tick(ELECTION_TICKS - 1);
    expect(core.core.role).toBe('leader');
    core.tick();
    expect([core.core.role, core.core.leaderId, core.core.term]).toEqual(['follower', undefined, 1]);
  });

  test('one answering follower of two is enough', () => {
    const core = new TestCore().lead();
    for (let at = 0; at < 5 * ELECTION_TICKS; at++) {
      core.tick();
      core.receive(3, { type: 'heartbeat-reply', term: T(1), round: 0 });
    }
    expect(core.core.role).toBe('leader');
  });
});

test('entries that have left memory are asked for once, and sent when they come', () => {
  const core = new TestCore({ log: [1, 1, 1], applied: 3, tailBytes: 1 }).lead();
  core.persisted();
  core.receive(2, accepted(2, 4));
  core.step({ type: 'propose', data: [bytes('a')] });
  core.persisted();
  expect(core.core.entries(I(1), { entries: 1, bytes: 1 })).toBeUndefined();
  const refusal = {
    type: 'append-reply',
    term: T(2),
    accepted: false,
    index: I(3),
    hintIndex: I(0),
    hintTerm: T(0),
  } as const;
  const asked = core.receive(3, refusal);
  const request = { to: M(3), term: T(2), first: I(1) };
  expect([sent(asked), asked.loads]).toEqual([[], [request]]);
  expect(core.receive(3, { type: 'heartbeat-reply', term: T(2), round: 0 }).loads).toEqual([]);
  const entries = entriesOf([1, 1, 1]);
  const [[to, message] = []] = sent(core.step({ type: 'loaded', request, entries }));
  expect([to, message]).toEqual([3, { ...append(2, { prev: [0, 0], commit: 4 }), entries }]);
});
