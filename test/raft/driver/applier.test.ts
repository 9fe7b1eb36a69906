/** Applying leaves turns to the rest. */
import { expect } from 'vitest';
import { LIMITS, must } from '../../../src/base/index.ts';
import { Applier } from '../../../src/raft/driver/applier.ts';
import { rule } from '../../support/rule.ts';
import { EchoStateMachine } from '../support/echo-state-machine.ts';
import { I, entriesOf } from '../core/harness.ts';

const COUNT = 100;
const GROUP_MS = 2;

rule('raft.appliesWithoutTurn', 'a long run of entries does not hold the event loop', async () => {
  const entries = entriesOf(Array.from({ length: COUNT }, () => 1));
  let nowMs = 0;
  let turnBeganMs = 0;
  let longestMs = 0;
  const endTurn = (): void => {
    longestMs = Math.max(longestMs, nowMs - turnBeganMs);
  };
  const stateMachine = new EchoStateMachine();
  await new Promise<void>((resolve, reject) => {
    const applier = new Applier({
      core: {
        applicableIndex: I(COUNT),
        entries: (first) => [must(entries[first - 1], 'an entry')],
      },
      store: { read: () => Promise.reject(new Error('all entries are in memory')) },
      stateMachine,
      clock: { monotonicMs: () => nowMs, wallMs: () => nowMs, after: () => () => undefined },
      laterTurn: (run) => {
        endTurn();
        // What else waits for a turn takes its time.
        nowMs += 10;
        turnBeganMs = nowMs;
        setImmediate(run);
      },
      onApplied: (group) => {
        nowMs += GROUP_MS;
        if (must(group.at(-1), 'an entry').index === COUNT) resolve();
      },
      onFatal: reject,
    });
    applier.kick();
  });
  endTurn();
  expect(stateMachine.applied).toHaveLength(COUNT);
  expect(longestMs).toBeGreaterThanOrEqual(LIMITS.raftApplyTurnMs);
  expect(longestMs).toBeLessThanOrEqual(LIMITS.raftApplyTurnMs + GROUP_MS);
});
