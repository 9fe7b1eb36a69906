import { describe, expect, test } from 'vitest';
import type { Message } from '../../../src/raft/core/index.ts';
import { rule } from '../../support/rule.ts';
import { configurationOf } from '../support/membership.ts';
import { ELECTION_TICKS, I, T, TestCore, accepted, append, heartbeat, sent } from './harness.ts';

const members = configurationOf({ voters: [1, 2, 3] });
const piece = (lastIndex: number): Message => ({
  type: 'snapshot-chunk',
  term: T(1),
  stream: 1,
  lastIndex: I(lastIndex),
  lastTerm: T(1),
  configuration: members,
  offset: 0,
  end: false,
  data: Buffer.from('a'),
});
const lost = (index: number, term = 1): Message => ({ type: 'state-lost', term: T(term), index: I(index) });
const emptied = (): TestCore => new TestCore({ log: [1, 1, 1, 1, 1], base: 3 });

describe('a member whose log is whole and whose state is lost', () => {
  rule('raft.lostStateTakesEntries', 'says so, and takes nothing but a snapshot', () => {
    const core = emptied();
    const heard = sent(core.receive(2, heartbeat(1, 5))).map(([, message]) => message);
    expect(heard).toEqual([lost(3), { type: 'heartbeat-reply', term: 1, round: 0 }]);
    expect([core.core.commitIndex, core.core.applicableIndex]).toEqual([3, 0]);
    expect(sent(core.receive(2, append(1, { prev: [5, 1], terms: [1], commit: 6 })))).toEqual([]);
    expect(core.receive(2, piece(2)).streamed).toEqual([]);
    expect(core.receive(2, piece(3)).streamed).toHaveLength(1);
    const installed = core.step({
      type: 'installed',
      at: { index: I(4), term: T(1), configuration: members },
    });
    expect(installed.persist).toBeUndefined();
    expect(sent(installed)).toEqual([[2, accepted(1, 4)]]);
    expect([core.core.lastIndex, core.core.applicableIndex]).toEqual([5, 4]);
    expect(sent(core.receive(2, append(1, { prev: [5, 1], terms: [1], commit: 6 })))).toEqual([
      [2, accepted(1, 6)],
    ]);
    expect(sent(core.receive(2, heartbeat(1, 6))).map(([, { type }]) => type)).toEqual(['heartbeat-reply']);
  });

  rule('raft.lostStateCampaigns', 'votes by its log, and does not campaign', () => {
    const core = emptied();
    core.tick(3 * ELECTION_TICKS);
    expect([core.core.role, core.core.term]).toEqual(['follower', 1]);
    const vote: Message = {
      type: 'vote',
      term: T(2),
      lastIndex: I(4),
      lastTerm: T(1),
      transfer: false,
    };
    const granted = (message: Message): unknown =>
      sent(core.receive(3, message)).map(([, reply]) =>
        reply.type === 'vote-reply' ? reply.granted : reply,
      );
    expect(granted(vote)).toEqual([false]);
    expect(granted({ ...vote, lastIndex: I(5) })).toEqual([true]);
    core.persisted();
    core.receive(3, heartbeat(2));
    core.receive(3, { type: 'timeout-now', term: T(2) });
    expect([core.core.role, core.core.term]).toEqual(['follower', 2]);
  });
});

test('a leader sends such a follower a snapshot, and goes on where their logs met', () => {
  const core = new TestCore({ log: [1, 1, 1, 1], applied: 4 }).lead();
  core.persisted();
  core.receive(2, accepted(2, 5));
  core.receive(3, accepted(2, 5));
  core.step({ type: 'compact', index: I(2) });
  expect(core.receive(3, lost(3, 2)).snapshots).toEqual([{ to: 3, term: 2, match: 2 }]);
  expect(core.receive(3, lost(3, 2)).snapshots).toEqual([]);
  const more = core.step({ type: 'propose', data: [Buffer.from('a')] });
  expect(sent(more).map(([to]) => to)).toEqual([2]);
  core.step({ type: 'transfer', to: undefined });
  expect(core.core.transferee).toBe(2);
  const [[to, next] = []] = sent(core.receive(3, accepted(2, 4)));
  expect([to, next]).toMatchObject([3, { type: 'append', prevIndex: 5 }]);
});
