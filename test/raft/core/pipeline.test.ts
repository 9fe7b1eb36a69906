import { describe, expect, test } from 'vitest';
import type { Append, AppendReply, Effects, Message } from '../../../src/raft/core/index.ts';
import { rule } from '../../support/rule.ts';
import { ELECTION_TICKS, HEARTBEAT_TICKS, I, T, TestCore, accepted, sent } from './harness.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);
const alive: Message = { type: 'heartbeat-reply', term: T(1), round: 0 };

/** A leader of term 1 whose follower 2 has its no-op, entry 1. Follower 3 never answers. */
function pipeline(setup: ConstructorParameters<typeof TestCore>[0] = {}): TestCore {
  const core = new TestCore(setup).lead();
  core.persisted();
  core.receive(2, accepted(1, 1));
  return core;
}

function propose(core: TestCore, ...texts: readonly string[]): readonly Effects[] {
  return texts.map((text) => core.step({ type: 'propose', data: [bytes(text)] }));
}

/** Where each append to follower 2 begins and how many entries it carries. */
function appends(effects: Effects | readonly Effects[], to = 2): readonly (readonly [number, number])[] {
  return [effects]
    .flat()
    .flatMap(sent)
    .filter((pair): pair is readonly [number, Append] => pair[0] === to && pair[1].type === 'append')
    .map(([, { prevIndex, entries }]) => [prevIndex + 1, entries.length]);
}

function refusal(prevIndex: number, hintIndex: number): AppendReply {
  const hint = { hintIndex: I(hintIndex), hintTerm: T(1) };
  return { type: 'append-reply', term: T(1), accepted: false, index: I(prevIndex), ...hint };
}

describe('a follower whose log is known to meet the leader’s', () => {
  test('is sent what comes without waiting for answers', () => {
    expect(appends(propose(pipeline(), 'a', 'b', 'c'))).toEqual([
      [2, 1],
      [3, 1],
      [4, 1],
    ]);
  });

  rule(
    'raft.inflightUnbounded',
    'has no more appends under way than the limit, until it answers [R31]',
    () => {
      const core = pipeline({ inflightLimit: { appends: 2, bytes: 1_000 } });
      expect(appends(propose(core, 'a', 'b', 'c', 'd'))).toEqual([
        [2, 1],
        [3, 1],
      ]);
      expect(appends(core.receive(2, accepted(1, 2)))).toEqual([[4, 2]]);
      expect(appends(core.receive(2, accepted(1, 5)))).toEqual([]);
    },
  );

  rule('raft.inflightUnbounded', 'has no more bytes under way than the limit [R31]', () => {
    const core = pipeline({ inflightLimit: { appends: 100, bytes: 61 } });
    expect(appends(propose(core, 'a'.repeat(40), 'b', 'c'))).toEqual([
      [2, 1],
      [3, 1],
    ]);
  });

  test('one answer frees all that it covers', () => {
    const core = pipeline({ inflightLimit: { appends: 3, bytes: 1_000 } });
    propose(core, 'a', 'b', 'c', 'd', 'e');
    core.persisted();
    expect(appends(core.receive(2, accepted(1, 4)))).toEqual([[5, 2]]);
    expect(core.core.commitIndex).toBe(4);
  });

  test('a backlog goes in pieces, within the limit', () => {
    const core = new TestCore({
      log: [1, 1, 1, 1, 1, 1],
      appendLimit: { entries: 2, bytes: 1_000 },
      inflightLimit: { appends: 2, bytes: 1_000 },
    }).lead();
    const probing = { ...refusal(6, 0), term: T(2), hintTerm: T(0) };
    expect(appends(core.receive(2, probing))).toEqual([[1, 2]]);
    expect(appends(core.receive(2, accepted(2, 2)))).toEqual([
      [3, 2],
      [5, 2],
    ]);
  });
});

describe('a follower whose log is not known', () => {
  rule('raft.probeSendsMany', 'is sent one append at a time [R31]', () => {
    const core = new TestCore().lead();
    core.persisted();
    expect(appends(core.log)).toEqual([[1, 1]]);
    expect(appends(propose(core, 'a', 'b'))).toEqual([]);
    expect(appends(core.receive(2, accepted(1, 1)))).toEqual([[2, 2]]);
  });

  test('a new leader begins anew with everyone [R31]', () => {
    const core = pipeline();
    propose(core, 'a', 'b');
    core.tick(ELECTION_TICKS);
    core.lead();
    expect(appends(core.log.slice(-1))).toEqual([[4, 1]]);
    expect(appends(propose(core, 'c'))).toEqual([]);
  });
});

describe('an append that is lost', () => {
  test('shows by the refusal of the next, and what is in doubt is sent again', () => {
    const core = pipeline();
    propose(core, 'a', 'b', 'c');
    // The second was lost: the third meets a log that ends before it.
    core.receive(2, accepted(1, 2));
    expect(appends(core.receive(2, refusal(3, 2)))).toEqual([[3, 2]]);
    expect(appends(propose(core, 'd'))).toEqual([]);
    expect(appends(core.receive(2, accepted(1, 4)))).toEqual([[5, 1]]);
  });

  test('the refusals of all that followed it say nothing new', () => {
    const core = pipeline();
    propose(core, 'a', 'b', 'c');
    expect(appends(core.receive(2, refusal(2, 1)))).toEqual([[2, 3]]);
    expect(appends(core.receive(2, refusal(3, 1)))).toEqual([]);
  });

  rule('raft.lostAppendUnnoticed', 'as the last one, shows while heartbeats are answered', () => {
    const core = pipeline();
    propose(core, 'a', 'b');
    core.tick(2 * HEARTBEAT_TICKS - 1);
    expect(appends(core.receive(2, alive))).toEqual([]);
    core.tick();
    expect(appends(core.receive(2, alive))).toEqual([[4, 0]]);
    expect(appends(core.receive(2, refusal(3, 1)))).toEqual([[2, 2]]);
  });

  test('a slow disk is asked, too, but is sent nothing twice', () => {
    const core = pipeline();
    propose(core, 'a', 'b');
    const asked = Array.from({ length: 5 }, () => {
      core.tick(2 * HEARTBEAT_TICKS);
      return core.receive(2, alive);
    });
    expect(appends(asked)).toEqual(Array.from({ length: 5 }, () => [4, 0]));
    expect(appends(core.receive(2, accepted(1, 3)))).toEqual([]);
    expect(appends(propose(core, 'c'))).toEqual([[4, 1]]);
  });

  test('what the log has forgotten meanwhile comes as a snapshot', () => {
    const core = pipeline();
    propose(core, 'a', 'b', 'c');
    core.persisted();
    core.receive(3, accepted(1, 4));
    core.step({ type: 'compact', index: I(4) });
    core.tick(ELECTION_TICKS / 2);
    const effects = core.receive(2, alive);
    expect(effects.snapshots).toEqual([]);
    expect(core.receive(2, refusal(4, 1)).snapshots).toMatchObject([{ to: 2, match: 1 }]);
    expect(core.receive(2, refusal(4, 1)).snapshots).toEqual([]);
  });
});

describe('answers that are late, doubled or of another time', () => {
  const committedBeat = (core: TestCore): unknown =>
    core
      .tick(HEARTBEAT_TICKS)
      .flatMap(sent)
      .flatMap(([to, message]) => (to === 2 && message.type === 'heartbeat' ? [message.commit] : []));

  rule('raft.lateAckMovesBack', 'an acknowledgement never moves what is known back [R32 R34]', () => {
    const core = pipeline();
    propose(core, 'a', 'b');
    core.persisted();
    core.receive(2, accepted(1, 3));
    core.receive(2, accepted(1, 1));
    expect(committedBeat(core)).toEqual([3]);
  });

  rule('raft.lateRefusalCounts', 'a refusal of what is known to be equal changes nothing [R32 R34]', () => {
    const core = pipeline();
    propose(core, 'a', 'b');
    core.receive(2, accepted(1, 3));
    expect(appends(core.receive(2, refusal(1, 0)))).toEqual([]);
    expect(appends(propose(core, 'c'))).toEqual([[4, 1]]);
  });

  rule('raft.olderTermAccepted', 'an acknowledgement of an older term is not one [R32]', () => {
    const core = new TestCore({ log: [1, 1, 1] }).lead();
    core.persisted();
    core.receive(2, accepted(1, 4));
    expect(core.core.commitIndex).toBe(0);
  });

  test('whoever is no follower acknowledges nothing [R32]', () => {
    const core = pipeline();
    propose(core, 'a');
    core.persisted();
    core.receive(6, accepted(1, 2));
    expect(core.core.commitIndex).toBe(1);
  });
});
