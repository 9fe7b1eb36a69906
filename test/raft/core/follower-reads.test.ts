import { describe, expect, test } from 'vitest';
import type { Effects, Message } from '../../../src/raft/core/index.ts';
import { rule } from '../../support/rule.ts';
import {
  ELECTION_TICKS,
  HEARTBEAT_TICKS,
  I,
  M,
  T,
  TestCore,
  accepted,
  append,
  heartbeat,
  sent,
} from './harness.ts';

const START = 7;

/** A follower of member 2 in term 1. */
function follower(): TestCore {
  const core = new TestCore({ seed: START });
  core.receive(2, append(1, { prev: [0, 0], terms: [1] }));
  core.persisted();
  return core;
}

function established(): TestCore {
  const core = new TestCore().lead();
  core.persisted();
  core.receive(2, accepted(1, 1));
  return core;
}

const question = (id: number, { term = 1, start = 5 } = {}): Message => ({
  type: 'read-request',
  term: T(term),
  start,
  id,
});
const answer = (id: number, { term = 1, start = START, index = 1 } = {}): Message => ({
  type: 'read-answer',
  term: T(term),
  start,
  id,
  index: I(index),
});
const round = (number: number): Message => ({ type: 'heartbeat-reply', term: T(1), round: number });
const answers = (effects: Effects): readonly unknown[] =>
  sent(effects).filter(([, { type }]) => type === 'read-answer');

describe('a leader that is asked by a follower', () => {
  rule(
    'raft.followerReadWithoutRound',
    'answers after a quorum round that began after the question [R56]',
    () => {
      const core = established();
      const asked = core.receive(3, question(1));
      expect(sent(asked).map(([to, { type }]) => [to, type])).toEqual([
        [2, 'heartbeat'],
        [3, 'heartbeat'],
      ]);
      const confirmed = core.receive(2, round(1));
      expect(answers(confirmed)).toEqual([[3, answer(1, { start: 5 })]]);
      expect(confirmed.confirmedReads).toEqual([]);
      expect(answers(core.receive(3, round(1)))).toEqual([]);
    },
  );

  rule(
    'raft.readJoinsRoundUnderWay',
    'begins another round for what comes while one is under way [R57]',
    () => {
      const core = new TestCore({ size: 5 }).lead();
      core.persisted();
      for (const id of [2, 3]) core.receive(id, accepted(1, 1));
      core.receive(3, question(1));
      core.receive(2, round(1));
      for (const id of [3, 4, 5]) expect(sent(core.receive(id, question(2)))).toEqual([]);
      const first = core.receive(4, round(1));
      expect(answers(first)).toEqual([[3, answer(1, { start: 5 })]]);
      const beats = sent(first).filter(([, { type }]) => type === 'heartbeat');
      expect(beats).toHaveLength(4);
      expect(beats[0]?.[1]).toMatchObject({ round: 2 });
      core.receive(2, round(2));
      expect(answers(core.receive(5, round(2)))).toEqual(
        [3, 4, 5].map((to) => [to, answer(2, { start: 5 })]),
      );
    },
  );

  test('takes them along in a round of its own', () => {
    const core = established();
    core.step({ type: 'read', id: 1 });
    core.receive(3, question(1));
    core.step({ type: 'read', id: 2 });
    const confirmed = core.receive(2, round(2));
    expect(confirmed.confirmedReads).toEqual([1, 2].map((id) => ({ id, index: 1 })));
    expect(answers(confirmed)).toHaveLength(1);
  });

  test('answers a question that was said twice once, and a later one instead of an earlier', () => {
    const core = established();
    core.receive(3, question(1));
    core.receive(3, question(1));
    core.receive(3, question(2));
    core.receive(3, question(3));
    expect(answers(core.receive(2, round(1)))).toHaveLength(1);
    expect(answers(core.receive(2, round(2)))).toEqual([[3, answer(3, { start: 5 })]]);
  });

  test('names its no-op while that is not committed', () => {
    const core = new TestCore({ log: [1, 1], applied: 1 }).lead();
    core.receive(3, question(1, { term: 2 }));
    const reply: Message = { type: 'heartbeat-reply', term: T(2), round: 1 };
    expect(answers(core.receive(2, reply))).toEqual([[3, answer(1, { term: 2, start: 5, index: 3 })]]);
  });

  test('begins nothing while it hands over, and goes on when it has given that up [R61]', () => {
    const core = established();
    core.receive(3, round(0));
    core.step({ type: 'transfer', to: M(2) });
    expect(sent(core.receive(3, question(1)))).toEqual([]);
    core.tick(ELECTION_TICKS - 1);
    expect(core.core.transferee).toBe(2);
    expect(answers(core.receive(3, round(0)))).toEqual([]);
    core.tick();
    expect(core.core.transferee).toBeUndefined();
    expect(answers(core.receive(3, round(1)))).toEqual([]);
    expect(answers(core.receive(3, round(2)))).toHaveLength(1);
  });

  test('that leads no more says nothing, and forgets who waited', () => {
    const core = established();
    core.receive(3, question(1));
    core.step({ type: 'step-down' });
    expect(answers(core.receive(2, round(1)))).toEqual([]);
    expect(sent(core.receive(3, question(2)))).toEqual([]);
  });

  test('says nothing to a question of an older term', () => {
    const core = established();
    expect(sent(core.receive(3, question(1, { term: 0 })))).toEqual([]);
  });
});

describe('a follower', () => {
  test('asks its leader, and again until it is answered', () => {
    const core = follower();
    expect(sent(core.step({ type: 'read', id: 3 }))).toEqual([[2, question(3, { start: START })]]);
    const again = core.tick(HEARTBEAT_TICKS).flatMap((effects) => sent(effects));
    expect(again).toEqual([[2, question(3, { start: START })]]);
    expect(core.receive(2, answer(3, { index: 9 })).confirmedReads).toEqual([{ id: 3, index: 9 }]);
    expect(core.tick(HEARTBEAT_TICKS).flatMap((effects) => sent(effects))).toEqual([]);
  });

  rule('raft.readAnswerOfOtherStart', 'takes no answer to a question of an earlier start [R57]', () => {
    const core = follower();
    core.step({ type: 'read', id: 1 });
    expect(core.receive(2, answer(1, { start: START - 1 })).confirmedReads).toEqual([]);
    expect(core.receive(2, answer(1)).confirmedReads).toHaveLength(1);
  });

  test('takes no answer to another question, of another member, or twice', () => {
    const core = follower();
    core.step({ type: 'read', id: 1 });
    core.step({ type: 'read', id: 2 });
    expect(core.receive(2, answer(1)).confirmedReads).toEqual([]);
    expect(core.receive(3, answer(2)).confirmedReads).toEqual([]);
    expect(core.receive(2, answer(2)).confirmedReads).toHaveLength(1);
    expect(core.receive(2, answer(2)).confirmedReads).toEqual([]);
  });

  rule(
    'raft.readOutlivesLeader',
    'loses its question with the leader, and takes no answer of an older term [R57]',
    () => {
      const core = follower();
      core.step({ type: 'read', id: 1 });
      expect(core.receive(3, heartbeat(2)).lostReads).toEqual([1]);
      expect(core.receive(2, answer(1)).confirmedReads).toEqual([]);
      core.step({ type: 'read', id: 2 });
      expect(core.receive(3, answer(2, { term: 1 })).confirmedReads).toEqual([]);
      expect(core.receive(3, answer(2, { term: 2 })).confirmedReads).toHaveLength(1);
    },
  );

  test('loses its question when it campaigns', () => {
    const core = follower();
    core.step({ type: 'read', id: 1 });
    const lost = core.tick(30).flatMap(({ lostReads }) => lostReads);
    expect(lost).toEqual([1]);
  });
});
