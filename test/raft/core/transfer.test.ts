import { describe, expect, test } from 'vitest';
import type { Message } from '../../../src/raft/core/index.ts';
import { rule } from '../../support/rule.ts';
import { ELECTION_TICKS, I, M, T, TestCore, accepted, append, heartbeat, sent } from './harness.ts';

const timeoutNow = (term: number): Message => ({ type: 'timeout-now', term: T(term) });
const vote = (term: number, transfer: boolean): Message => ({
  type: 'vote',
  term: T(term),
  lastIndex: I(9),
  lastTerm: T(9),
  transfer,
});

function established(): TestCore {
  const core = new TestCore().lead();
  core.persisted();
  core.receive(2, accepted(1, 1));
  return core;
}

describe('a leader that hands over', () => {
  rule(
    'raft.transferWithoutCatchUp',
    'tells its target to campaign only when it has the whole log [R61]',
    () => {
      const core = established();
      core.step({ type: 'propose', data: [Buffer.from('a')] });
      expect(sent(core.step({ type: 'transfer', to: M(2) }))).toEqual([]);
      const after = core.receive(2, accepted(1, 2));
      expect(sent(after)).toContainEqual([2, timeoutNow(1)]);
    },
  );

  test('says it again, since it may be lost, and to nobody else', () => {
    const core = established();
    expect(sent(core.step({ type: 'transfer', to: M(2) }))).toEqual([[2, timeoutNow(1)]]);
    const reply: Message = { type: 'heartbeat-reply', term: T(1), round: 0 };
    expect(sent(core.receive(2, reply))).toEqual([[2, timeoutNow(1)]]);
    expect(sent(core.receive(3, reply)).some(([, { type }]) => type === 'timeout-now')).toBe(false);
  });

  test('takes the follower that is nearest when none is named', () => {
    const core = established();
    core.step({ type: 'transfer', to: undefined });
    expect(core.core.transferee).toBe(2);
    expect(core.core.established).toBe(false);
  });

  test('begins nothing with a stranger, with itself, with a silent follower, or alone', () => {
    const core = established();
    for (const to of [1, 9]) core.step({ type: 'transfer', to: M(to) });
    expect(core.core.transferee).toBeUndefined();
    for (let tick = 0; tick < ELECTION_TICKS; tick++) {
      core.receive(2, { type: 'heartbeat-reply', term: T(1), round: 0 });
      core.tick();
    }
    core.step({ type: 'transfer', to: M(3) });
    expect(core.core.transferee).toBeUndefined();
    expect(core.core.role).toBe('leader');
  });

  test('goes on after an election timeout, once a quorum has answered a new round [R61]', () => {
    const core = established();
    core.step({ type: 'transfer', to: M(2) });
    for (let tick = 0; tick < ELECTION_TICKS; tick++) {
      core.receive(3, { type: 'heartbeat-reply', term: T(1), round: 0 });
      core.tick();
    }
    expect(core.core.role).toBe('leader');
    expect(core.core.transferee).toBeUndefined();
    expect(core.core.established).toBe(false);
    core.receive(3, { type: 'heartbeat-reply', term: T(1), round: 1 });
    expect(core.core.established).toBe(true);
  });

  test('votes for its target although it leads [R10]', () => {
    const core = established();
    expect(sent(core.receive(2, vote(2, false)))).toEqual([]);
    expect(core.core.role).toBe('leader');
    const answer = sent(core.receive(2, vote(2, true)));
    expect(answer).toEqual([[2, { type: 'vote-reply', term: 2, granted: true }]]);
    expect(core.core.role).toBe('follower');
  });
});

describe('a follower that is told to campaign', () => {
  test('asks for votes at once, as one whom the leader sent', () => {
    const core = new TestCore();
    core.receive(2, append(1, { prev: [0, 0], terms: [1] }));
    const asked = sent(core.receive(2, timeoutNow(1)));
    expect(asked.map(([to, message]) => [to, message.type === 'vote' && message.transfer])).toEqual([
      [2, true],
      [3, true],
    ]);
    expect(core.core.term).toBe(2);
  });

  test('is voted for by those who hear that leader too [R10 R61]', () => {
    const core = new TestCore({ id: 3 });
    core.receive(1, append(1, { prev: [0, 0], terms: [1] }));
    core.persisted();
    expect(sent(core.receive(2, vote(2, false)))).toEqual([]);
    expect(sent(core.receive(2, vote(2, true)))).toEqual([
      [2, { type: 'vote-reply', term: 2, granted: true }],
    ]);
  });

  test('does nothing if the message is old or from another than its leader', () => {
    const core = new TestCore();
    core.receive(2, heartbeat(2));
    for (const [from, term] of [
      [2, 1],
      [3, 2],
    ] as const)
      expect(sent(core.receive(from, timeoutNow(term)))).toEqual([]);
    expect(core.core.term).toBe(2);
    expect(core.core.role).toBe('follower');
  });
});
