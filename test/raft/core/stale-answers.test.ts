/** Answers that the network brings twice, late, or from an earlier term of the same leader. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { rule } from '../../support/rule.ts';
import { HEARTBEAT_TICKS, TestCore, accepted, append, heartbeat, sent } from './harness.ts';

describe('answers to appends', () => {
  rule(
    'raft.olderTermAccepted',
    'of an earlier term in which this member led count for nothing [R32]',
    () => {
      const core = new TestCore({ log: [1, 1] }).lead();
      core.persisted();
      core.receive(3, heartbeat(3));
      core.receive(3, append(3, { prev: [2, 1], terms: [3] }));
      core.lead();
      core.persisted();
      expect([core.core.role, core.core.term, core.core.lastIndex]).toEqual(['leader', 4, 4]);
      for (const index of [3, 4, 3]) core.receive(2, accepted(2, index));
      expect(core.core.commitIndex).toBe(0);
      core.receive(2, accepted(4, 4));
      expect(core.core.commitIndex).toBe(4);
    },
  );

  test('in any order, any of them twice, never take back what a follower holds [R32 R34]', () => {
    const orders = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(orders, (order) => {
        const core = new TestCore({ log: [1, 1, 1, 1, 1, 1, 1, 1] }).lead();
        core.persisted();
        core.receive(2, accepted(2, 9));
        expect(core.core.commitIndex).toBe(9);
        let held = 0;
        for (const index of order) {
          held = Math.max(held, index);
          core.receive(3, accepted(2, index));
          const beats = core.tick(HEARTBEAT_TICKS).flatMap(sent);
          const told = beats.flatMap(([to, message]) =>
            to === 3 && message.type === 'heartbeat' ? [message.commit] : [],
          );
          expect(told).toEqual([held]);
        }
      }),
      { numRuns: 50 },
    );
  });
});
