import { describe, expect, test } from 'vitest';
import type { Message } from '../../../src/raft/core/index.ts';
import { rule } from '../../support/rule.ts';
import { configurationOf } from '../support/membership.ts';
import { I, T, TestCore, accepted, append, entriesOf, sent } from './harness.ts';

const members = configurationOf({ index: 1, voters: [1, 2, 3, 4] });
const piece = (lastIndex: number, lastTerm = 1): Message => ({
  type: 'snapshot-chunk',
  term: T(3),
  stream: 1,
  lastIndex: I(lastIndex),
  lastTerm: T(lastTerm),
  configuration: members,
  offset: 0,
  end: false,
  data: Buffer.from('a'),
});
const at = (index: number, term: number) => ({
  index: I(index),
  term: T(term),
  configuration: members,
});

describe('a compacted log', () => {
  test('knows the term of its base and nothing before it', () => {
    const core = new TestCore({ log: [1, 1, 2, 2, 2], applied: 4 });
    core.step({ type: 'compact', index: I(4) });
    expect([2, 3, 4, 5].map((index) => core.core.termAt(I(index)))).toEqual([undefined, undefined, 2, 2]);
    expect(core.core.baseIndex).toBe(4);
  });

  test('accepts an append that begins before it up to what is committed', () => {
    const core = new TestCore({ log: [1, 1, 1, 1], applied: 3 });
    core.step({ type: 'compact', index: I(3) });
    const answer = sent(core.receive(2, append(1, { prev: [1, 1], terms: [1, 1], commit: 3 })));
    expect(answer).toEqual([[2, accepted(1, 3)]]);
    expect(core.core.lastIndex).toBe(4);
  });

  test('of a leader: who needs what it lost is sent a snapshot, asked for once', () => {
    const core = new TestCore({ log: [1, 1, 1, 1], applied: 4 }).lead();
    core.persisted();
    core.receive(2, accepted(2, 5));
    core.step({ type: 'compact', index: I(4) });
    const refusal: Message = {
      type: 'append-reply',
      term: T(2),
      accepted: false,
      index: I(4),
      hintIndex: I(1),
      hintTerm: T(1),
    };
    const stateOf3 = () => core.core.followers.find(({ id }) => id === 3)?.state;
    expect(core.receive(3, refusal).snapshots).toEqual([{ to: 3, term: 2, match: 0 }]);
    const more = core.step({ type: 'propose', data: [Buffer.from('a')] });
    expect(sent(more).map(([to]) => to)).toEqual([2]);
    expect(stateOf3()).toBe('snapshot');
    expect(sent(core.receive(3, accepted(2, 4))).map(([to, { type }]) => [to, type])).toEqual([
      [3, 'append'],
    ]);
    expect(stateOf3()).toBe('replicate');
  });
});

describe('a snapshot', () => {
  test('that holds nothing new is answered with what is committed [R42]', () => {
    const core = new TestCore({ log: [1, 1, 1], applied: 3, term: 3 });
    const effects = core.receive(2, piece(3));
    expect(effects.streamed).toEqual([]);
    expect(sent(effects)).toEqual([[2, accepted(3, 3)]]);
    expect(core.receive(2, piece(4)).streamed).toHaveLength(1);
  });

  test('of an older term is not looked at', () => {
    const core = new TestCore({ term: 4 });
    expect(core.receive(2, piece(9)).streamed).toEqual([]);
  });

  rule('raft.installKeepsConflict', 'replaces a log that differs from it, in one write [R41]', () => {
    const core = new TestCore({ log: [1, 1, 2, 2], applied: 2, term: 3 });
    core.receive(2, piece(3, 3));
    const effects = core.step({ type: 'installed', at: at(3, 3) });
    expect(effects.persist?.log).toEqual({ from: 4, entries: [], base: at(3, 3) });
    expect([core.core.lastIndex, core.core.baseIndex, core.core.commitIndex]).toEqual([3, 3, 3]);
    expect(effects.sendAfterDurable).toEqual([{ to: 2, message: accepted(3, 3) }]);
    core.persisted();
    const next = core.receive(2, append(3, { prev: [3, 3], terms: [3], commit: 4 }));
    expect(next.persist?.log).toEqual({ from: 4, entries: entriesOf([3], 4, 3) });
  });

  test('keeps what follows its last entry in a log that holds it [R41]', () => {
    const core = new TestCore({ log: [1, 1, 1, 1], applied: 1, term: 3 });
    core.receive(2, piece(3));
    expect(core.step({ type: 'installed', at: at(3, 1) }).persist?.log).toBeUndefined();
    expect([core.core.lastIndex, core.core.baseIndex, core.core.commitIndex]).toEqual([4, 0, 3]);
  });

  test('that the log has overtaken meanwhile changes nothing', () => {
    const core = new TestCore({ log: [1, 1, 1, 1], applied: 4, term: 3 });
    expect(core.step({ type: 'installed', at: at(3, 1) }).persist).toBeUndefined();
    expect(core.core.commitIndex).toBe(4);
  });
});
