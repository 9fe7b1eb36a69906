import { describe, expect, test } from 'vitest';
import type { Message } from '../../../src/raft/core/index.ts';
import { ELECTION_TICKS, I, M, T, TestCore, append, heartbeat, sent } from './harness.ts';

const vote = (term: number, lastIndex = 0, lastTerm = 0): Message => ({
  type: 'vote',
  transfer: false,
  term: T(term),
  lastIndex: I(lastIndex),
  lastTerm: T(lastTerm),
});
const preVote = (term: number, lastIndex = 0, lastTerm = 0): Message =>
  ({ ...vote(term, lastIndex, lastTerm), type: 'pre-vote' }) as Message;

function ticksUntilPreVote(core: TestCore): number {
  for (let ticks = 1; ; ticks++) {
    core.tick();
    if (core.core.role === 'pre-candidate') return ticks;
  }
}

describe('votes', () => {
  test('a vote and its term are written before the answer may leave [R1]', () => {
    const core = new TestCore({ term: 1 });
    const effects = core.receive(2, vote(2));
    expect(effects.sendNow).toEqual([]);
    expect(effects.persist?.hardState).toEqual({ term: 2, vote: 2 });
    expect(effects.sendAfterDurable).toEqual([
      { to: 2, message: { type: 'vote-reply', term: 2, granted: true } },
    ]);
  });

  test('there is one vote a term, also for who forgot that it asked [R2]', () => {
    const core = new TestCore({ term: 1 });
    core.receive(2, vote(2));
    expect(sent(core.receive(3, vote(2)))).toEqual([[3, { type: 'vote-reply', term: 2, granted: false }]]);
    expect(sent(core.receive(2, vote(2)))).toEqual([[2, { type: 'vote-reply', term: 2, granted: true }]]);
    const restarted = new TestCore({ term: 2, vote: 2 });
    expect(sent(restarted.receive(3, vote(2)))).toEqual([
      [3, { type: 'vote-reply', term: 2, granted: false }],
    ]);
  });

  // The voter's log has entries of terms 1, 1, 3: the term is compared first, then the index.
  test.each([
    [3, 3, true],
    [4, 3, true],
    [1, 4, true],
    [2, 3, false],
    [9, 2, false],
    [3, 1, false],
  ])('a candidate whose log ends at %i of term %i: %s [R3 R7]', (lastIndex, lastTerm, granted) => {
    const core = new TestCore({ log: [1, 1, 3] });
    expect(sent(core.receive(2, vote(5, lastIndex, lastTerm)))).toEqual([
      [2, { type: 'vote-reply', term: 5, granted }],
    ]);
    const before = new TestCore({ log: [1, 1, 3] });
    const [[, reply] = []] = sent(before.receive(2, preVote(5, lastIndex, lastTerm)));
    expect(reply).toMatchObject({ granted, term: granted ? 5 : 3 });
  });

  test('a voter that hears a leader refuses both kinds, and its term stays [R10]', () => {
    const core = new TestCore({ term: 3 });
    core.receive(2, heartbeat(3));
    core.persisted();
    core.tick(ELECTION_TICKS - 1);
    expect(sent(core.receive(3, vote(9)))).toEqual([]);
    expect(sent(core.receive(3, preVote(9)))).toEqual([
      [3, { type: 'pre-vote-reply', term: 3, granted: false }],
    ]);
    expect(core.core.term).toBe(3);
    core.tick();
    expect(sent(core.receive(3, vote(9)))).toEqual([[3, { type: 'vote-reply', term: 9, granted: true }]]);
  });
});

describe('pre-votes', () => {
  test('change nothing on the voter, whatever the answer [R6]', () => {
    for (const term of [1, 4, 90]) {
      const core = new TestCore({ log: [1, 3], vote: 2, term: 3 });
      const effects = core.receive(3, preVote(term, 7, 3));
      expect(effects.persist).toBeUndefined();
      expect([core.core.term, core.core.vote, core.core.role]).toEqual([3, 2, 'follower']);
    }
  });

  test('a refusal of a later term is adopted, an old request is refused aloud [R7 R9]', () => {
    const core = new TestCore({ term: 3 });
    expect(sent(core.receive(2, preVote(2)))).toEqual([
      [2, { type: 'pre-vote-reply', term: 3, granted: false }],
    ]);
    ticksUntilPreVote(core);
    core.receive(2, { type: 'pre-vote-reply', term: T(7), granted: false });
    expect([core.core.term, core.core.role]).toEqual([7, 'follower']);
  });

  test('an election that cannot be won does not touch the term [R11]', () => {
    const core = new TestCore({ term: 3 });
    core.tick(20 * ELECTION_TICKS);
    expect([core.core.term, core.core.role]).toEqual([3, 'pre-candidate']);
  });
});

describe('the election timer', () => {
  test('is drawn anew from [T, 2T) each time [R5]', () => {
    const drawn = new Set<number>();
    for (let seed = 0; seed < 200; seed++) drawn.add(ticksUntilPreVote(new TestCore({ seed })));
    expect(Math.min(...drawn)).toBe(ELECTION_TICKS);
    expect(Math.max(...drawn)).toBe(2 * ELECTION_TICKS - 1);
    const one = new TestCore();
    const again = Array.from({ length: 5 }, () => {
      one.receive(2, heartbeat(1));
      return ticksUntilPreVote(one);
    });
    expect(new Set(again).size).toBeGreaterThan(1);
  });

  test.each<[string, (core: TestCore) => unknown, boolean]>([
    ['a heartbeat of the leader', (core) => core.receive(2, heartbeat(3)), true],
    ['an append of the leader', (core) => core.receive(2, append(3, { prev: [0, 0] })), true],
    ['an append that does not fit', (core) => core.receive(2, append(3, { prev: [9, 3] })), true],
    ['a vote that it grants', (core) => core.receive(2, vote(4)), true],
    ['a vote that it refuses', (core) => core.receive(2, vote(3)), false],
    ['a pre-vote that it grants', (core) => core.receive(2, preVote(4)), false],
    ['a heartbeat of an old leader', (core) => core.receive(2, heartbeat(2)), false],
    ['an append of an old leader', (core) => core.receive(2, append(2, { prev: [0, 0] })), false],
  ])('after %s begins anew: %s [R4]', (_name, input, resets) => {
    const count = (): number => {
      const core = new TestCore({ term: 3, vote: 1 });
      core.tick(ELECTION_TICKS - 1);
      input(core);
      return ticksUntilPreVote(core);
    };
    const undisturbed = new TestCore({ term: 3, vote: 1 });
    undisturbed.tick(ELECTION_TICKS - 1);
    if (resets) expect(count()).toBeGreaterThanOrEqual(ELECTION_TICKS);
    else expect(count()).toBe(ticksUntilPreVote(undisturbed));
  });
});

describe('a candidate', () => {
  test('asks for votes, and counts its own, only when that vote is on disk [R1 R17]', () => {
    const core = new TestCore({ size: 1 });
    const [effects] = core.tick();
    expect(effects?.persist?.hardState).toEqual({ term: 1, vote: 1 });
    expect(core.core.role).toBe('candidate');
    core.persisted();
    expect(core.core.role).toBe('leader');
  });

  test('gives way to the leader of its term and to a later term', () => {
    const core = new TestCore({ term: 3 }).campaign();
    expect([core.core.role, core.core.term]).toEqual(['candidate', 4]);
    core.receive(3, heartbeat(4));
    expect([core.core.role, core.core.leaderId]).toEqual(['follower', M(3)]);
    const other = new TestCore({ term: 3 }).campaign();
    other.receive(2, { type: 'vote-reply', term: T(9), granted: false });
    expect([other.core.role, other.core.term]).toEqual(['follower', 9]);
  });

  test('does not count votes of another term', () => {
    const core = new TestCore({ term: 3 }).campaign();
    core.receive(2, { type: 'vote-reply', term: T(3), granted: true });
    expect(core.core.role).toBe('candidate');
  });
});

test('a node of a later term tells an old leader so [R8]', () => {
  for (const message of [heartbeat(2), append(2, { prev: [0, 0] })]) {
    const core = new TestCore({ term: 5 });
    const [[to, reply] = []] = sent(core.receive(2, message));
    expect([to, reply?.term]).toEqual([2, 5]);
  }
});

describe('when the leader’s process has ended', () => {
  function orphan(id: number): TestCore {
    const core = new TestCore({ id, term: 3 });
    core.receive(1, heartbeat(3));
    core.persisted();
    return core;
  }

  test('its lease is released at once, and the survivors begin one after the other', () => {
    const [two, three] = [orphan(2), orphan(3)];
    expect(sent(two.receive(3, preVote(4)))).toEqual([
      [3, { type: 'pre-vote-reply', term: 3, granted: false }],
    ]);
    for (const core of [two, three]) core.step({ type: 'peer-gone', id: M(1) });
    expect([ticksUntilPreVote(two), ticksUntilPreVote(three)]).toEqual([1, 3]);
  });

  test('whoever grants a pre-vote lets the other one go first', () => {
    const two = orphan(2);
    two.step({ type: 'peer-gone', id: M(1) });
    expect(sent(two.receive(3, preVote(4)))).toEqual([
      [3, { type: 'pre-vote-reply', term: 4, granted: true }],
    ]);
    expect(ticksUntilPreVote(two)).toBe(6);
  });

  test('of two that ask each other at once, the lower id goes on alone', () => {
    const [two, three] = [orphan(2), orphan(3)];
    for (const core of [two, three]) {
      core.step({ type: 'peer-gone', id: M(1) });
      ticksUntilPreVote(core);
    }
    for (const [core, other] of [
      [two, 3],
      [three, 2],
    ] as const) {
      expect(sent(core.receive(other, preVote(4)))).toEqual([
        [other, { type: 'pre-vote-reply', term: 4, granted: true }],
      ]);
    }
    expect([two.core.role, three.core.role]).toEqual(['pre-candidate', 'follower']);
    expect(ticksUntilPreVote(three)).toBe(6);
  });

  test('its next message takes the mistake back', () => {
    const core = orphan(2);
    core.step({ type: 'peer-gone', id: M(1) });
    core.receive(1, heartbeat(3));
    expect(sent(core.receive(3, preVote(4)))).toEqual([
      [3, { type: 'pre-vote-reply', term: 3, granted: false }],
    ]);
    expect(ticksUntilPreVote(core)).toBeGreaterThanOrEqual(ELECTION_TICKS);
  });

  test('the end of another member changes nothing', () => {
    const core = orphan(2);
    core.step({ type: 'peer-gone', id: M(3) });
    expect(ticksUntilPreVote(core)).toBeGreaterThanOrEqual(ELECTION_TICKS);
  });
});

test('a follower that lost entries which it acknowledged ends itself', () => {
  const core = new TestCore({ log: [1, 1] });
  expect(() => core.receive(2, heartbeat(2, 3))).toThrow(expect.objectContaining({ code: 'DATA_CORRUPT' }));
});
