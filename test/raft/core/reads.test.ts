import { describe, expect, test } from 'vitest';
import type { Message } from '../../../src/raft/core/index.ts';
import { T, TestCore, accepted, heartbeat, sent } from './harness.ts';

const reply = (round: number, term = 1): Message => ({ type: 'heartbeat-reply', term: T(term), round });

function established(): TestCore {
  const core = new TestCore().lead();
  core.persisted();
  core.receive(2, accepted(1, 1));
  return core;
}

describe('reads', () => {
  test('are confirmed by a quorum round that began after them [R56]', () => {
    const core = established();
    const asked = core.step({ type: 'read', id: 7 });
    expect(sent(asked).map(([, message]) => message.type === 'heartbeat' && message.round)).toEqual([1, 1]);
    expect(asked.confirmedReads).toEqual([]);
    expect(core.receive(2, reply(1)).confirmedReads).toEqual([{ id: 7, index: 1 }]);
    expect(core.receive(3, reply(1)).confirmedReads).toEqual([]);
  });

  test('answers to older rounds, of older terms, confirm nothing [R57]', () => {
    const core = established();
    core.step({ type: 'read', id: 1 });
    core.step({ type: 'read', id: 2 });
    expect(core.receive(2, reply(1)).confirmedReads).toEqual([{ id: 1, index: 1 }]);
    expect(core.receive(2, reply(2, 0)).confirmedReads).toEqual([]);
    expect(core.receive(3, reply(1)).confirmedReads).toEqual([]);
    expect(core.receive(3, reply(2)).confirmedReads).toEqual([{ id: 2, index: 1 }]);
  });

  test('before the no-op is committed they wait for it [R20 R56]', () => {
    const core = new TestCore({ log: [1, 1], applied: 1 }).lead();
    core.step({ type: 'read', id: 1 });
    expect(core.receive(2, reply(1, 2)).confirmedReads).toEqual([{ id: 1, index: 3 }]);
  });

  test('are forgotten with the term, and rounds go on [R57]', () => {
    const core = established();
    core.step({ type: 'read', id: 1 });
    core.receive(3, heartbeat(2));
    core.lead();
    expect(core.receive(2, reply(1, 3)).confirmedReads).toEqual([]);
    const [, , [, message] = []] = [
      ...sent(core.step({ type: 'read', id: 2 })),
      ...sent(core.step({ type: 'read', id: 3 })),
    ];
    expect(message).toMatchObject({ type: 'heartbeat', round: 3 });
  });

  test('a single member confirms at once', () => {
    const core = new TestCore({ size: 1 });
    core.tick();
    core.persisted();
    core.persisted();
    expect(core.step({ type: 'read', id: 1 }).confirmedReads).toEqual([{ id: 1, index: 1 }]);
  });
});

describe('a leader that was stalled', () => {
  test('is established again only by a round that began after the stall [R60]', () => {
    const core = established();
    expect(core.core.established).toBe(true);
    core.step({ type: 'read', id: 1 });
    core.step({ type: 'stalled' });
    expect(core.core.established).toBe(false);
    core.receive(2, reply(1));
    expect(core.core.established).toBe(false);
    core.receive(2, reply(2));
    expect(core.core.established).toBe(true);
  });

  test('alone in its cluster needs nobody', () => {
    const core = new TestCore({ size: 1 });
    core.tick();
    core.persisted();
    core.persisted();
    core.step({ type: 'stalled' });
    expect(core.core.established).toBe(true);
  });
});
