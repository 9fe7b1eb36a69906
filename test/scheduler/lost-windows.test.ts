import { describe, expect, it } from 'vitest';
import type { Outcome, Plan } from '../../src/scheduler/planner/types.ts';
import { jobOf, sealOf } from '../statemachine/support/world.ts';
import { rule } from '../support/rule.ts';
import { startedLeader, type Leader } from './support/leader.ts';

const causes = (planned: Plan): string[] => planned.operations.map(({ cause }) => cause);

/** The executor's word that the primary of a shard does not show a window. */
function missing(leader: Leader, key: string, lostWindow: number): Outcome {
  const { version, token, executorId } = leader.world.task(key);
  const found = { result: 'FAILED', code: 'WINDOW_INCOMPLETE', message: 'x', lostWindow } as const;
  return { type: 'task-outcome', executorId, key, version, token, ...found };
}

/** Seals two windows, whose tasks are with an executor. */
function working(): Leader {
  const leader = startedLeader(jobOf(), 1);
  leader.world.seal();
  leader.world.seal();
  leader.settle();
  return leader;
}

describe('a window that a task does not find', () => {
  rule('scheduler.lostWindowIsOnlyLate', 'is captured again under a new epoch, and the task waits', () => {
    const leader = working();
    const former = leader.world.source().collector;
    const planned = leader.round(missing(leader, '1/1/2/0', 2));
    expect(causes(planned)).toEqual(['windows-lost', 'parked']);
    expect(planned.operations[0]?.replacesCollector).toMatchObject({ epoch: former?.epoch });
    expect(causes(leader.round())).toEqual(['collector-granted']);
    expect(leader.round().dispatches).toMatchObject([
      { kind: 'collector', source: { lost: [{ window: 2, problem: '' }] } },
    ]);
    const { coversMs: _, ...slice } = sealOf(leader.world.source(), 2);
    const { from = '', to = '' } = leader.world.window(2) ?? {};
    const rest = { from, to, errorCode: '', errorMessage: '' };
    leader.world.accept({ ...slice, type: 'window.reseal', ...rest });
    expect(causes(leader.round())).toEqual(['woken']);
  });

  it('stops the collector once, however many tasks miss it', () => {
    const leader = working();
    const outcomes = [
      missing(leader, '1/1/1/0', 1),
      missing(leader, '1/1/2/0', 2),
      missing(leader, '1/1/2/0', 2),
    ];
    expect(causes(leader.round(...outcomes)).filter((cause) => cause === 'windows-lost')).toHaveLength(2);
    leader.round();
    const epoch = leader.world.source().collector?.epoch;
    leader.pass(leader.config.parkBaseMs);
    leader.settle();
    leader.round(missing(leader, '1/1/2/0', 2));
    expect(leader.world.source().collector?.epoch).toBe(epoch);
  });

  it('is not lost again when it was captured again since the task was granted', () => {
    const leader = working();
    const late = missing(leader, '1/1/2/0', 2);
    const executorId = leader.world.source().collector?.executorId ?? 0;
    leader.world.accept({ type: 'window.lost', v: 1, sourceId: 1, firstWindow: 2, lastWindow: 2 });
    leader.world.accept({ type: 'collector.grant', v: 1, sourceId: 1, executorId });
    const { coversMs: _, ...slice } = sealOf(leader.world.source(), 2);
    const { from = '', to = '' } = leader.world.window(2) ?? {};
    leader.world.accept({ ...slice, type: 'window.reseal', from, to, errorCode: '', errorMessage: '' });
    expect(causes(leader.round(late))).not.toContain('windows-lost');
  });
});
