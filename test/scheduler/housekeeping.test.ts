import { describe, expect, it } from 'vitest';
import type { Plan } from '../../src/scheduler/planner/types.ts';
import { finishOf, jobOf } from '../statemachine/support/world.ts';
import { startedLeader, type Leader } from './support/leader.ts';

const causes = (planned: Plan): string[] => planned.operations.map(({ cause }) => cause);
const config = { windowsKept: 8 };

/** Seals and merges windows, one span each. */
function finish(leader: Leader, windows: number): void {
  const { world } = leader;
  for (let i = 0; i < windows; i++) {
    const window = world.seal();
    for (const { id } of world.state.reports.values()) {
      world.accept(finishOf(world.grant({ window, report: id, executorId: 1 })));
    }
  }
}

/** Answers every grant of housekeeping that there is, as an executor that did all of it. */
function answer(leader: Leader, code: 'DB_FAILED' | '' = ''): Plan {
  const { reports, sources } = leader.world.state;
  const grants = [
    ...[...reports.values()].map(({ fold }) => fold),
    ...[...sources.values()].map(({ drop }) => drop),
  ];
  return leader.round(
    ...grants.flatMap((grant) =>
      grant === null
        ? []
        : [
            {
              type: 'housekeeping-outcome' as const,
              token: grant.token,
              window: grant.window,
              code,
              message: '',
            },
          ],
    ),
  );
}

describe('housekeeping', () => {
  it('folds what is far enough behind, then drops what no report needs', () => {
    const leader = startedLeader(jobOf(), 1, { config });
    finish(leader, 9);
    expect(leader.round().operations).toEqual([]);
    finish(leader, 1);
    expect(causes(leader.round())).toEqual(['fold-granted']);
    expect(leader.world.report().fold).toMatchObject({ window: 2 });
    expect(leader.round().dispatches).toMatchObject([{ kind: 'fold', executorId: 1 }]);
    expect(leader.round()).toMatchObject({ operations: [], dispatches: [] });
    expect(causes(answer(leader))).toEqual(['folded']);
    expect(leader.world.report()).toMatchObject({ folded: { window: 2 }, fold: null });
    finish(leader, 2);
    leader.round();
    expect(causes(answer(leader))).toEqual(['folded']);
    expect(causes(leader.round())).toEqual(['drop-granted']);
    expect(leader.round().dispatches).toMatchObject([{ kind: 'drop' }]);
    expect(causes(answer(leader))).toEqual(['dropped']);
    expect(leader.world.source()).toMatchObject({ horizon: 2, droppedWindow: 2, drop: null });
    leader.settle();
  });

  it('has little under way at once, and begins again elsewhere when an executor is gone', () => {
    const leader = startedLeader(jobOf({ shop: ['a', 'b', 'c'] }), 2, { config });
    finish(leader, 12);
    leader.settle();
    const granted = [...leader.world.state.reports.values()].map(({ fold }) => fold?.executorId ?? 0);
    expect(granted.toSorted()).toEqual([0, 1, 2]);
    leader.round({ type: 'executor-goodbye', executorId: 2 });
    leader.settle();
    expect(
      [...leader.world.state.reports.values()].map(({ fold }) => fold?.executorId ?? 0).toSorted(),
    ).toEqual([0, 1, 1]);
  });

  it('waits after a failure, begins again when one takes too long, and under a new sink epoch', () => {
    const leader = startedLeader(jobOf(), 1, { config });
    finish(leader, 12);
    leader.settle();
    expect(causes(answer(leader, 'DB_FAILED'))).toEqual(['housekeeping-failed']);
    leader.settle();
    expect(leader.world.report().fold).toBeNull();
    leader.pass(30_000);
    leader.settle();
    const first = leader.world.report().fold;
    leader.pass(leader.config.housekeepingDeadlineMs);
    leader.settle();
    const second = leader.world.report().fold;
    expect(second?.superseded).toEqual([first?.token]);
    leader.world.reconcile(1);
    leader.settle();
    expect(leader.world.report().fold?.sinkEpoch).toBe([...leader.world.state.sinks.values()][0]?.epoch);
    expect(leader.world.report().fold?.superseded).toEqual([second?.token, first?.token]);
  });

  it('makes a hole permanent early when it holds back too much, and no other', () => {
    const leader = startedLeader(jobOf({ shop: ['a', 'b'] }), 1, {
      config: { windowsKept: 8, tasksKeptMax: 40, windowsHeldMax: 15 },
    });
    const { world } = leader;
    finish(leader, 1);
    world.seal();
    const held = world.grant({ window: 2, report: 1, executorId: 1, purpose: 'DEAD' });
    world.accept(finishOf(held, 'DEAD'));
    world.accept(finishOf(world.grant({ window: 2, report: 2, executorId: 1 })));
    finish(leader, 9);
    world.seal();
    const other = world.grant({ window: 12, report: 2, executorId: 1, purpose: 'DEAD' });
    world.accept(finishOf(other, 'DEAD'));
    world.accept(finishOf(world.grant({ window: 12, report: 1, executorId: 1 })));
    leader.settle();
    finish(leader, 10);
    leader.settle();
    expect(world.state.tasks.size).toBeGreaterThan(40);
    expect(world.task(held.key).state).toBe('SKIPPED');
    expect(world.task(other.key).state).toBe('DEAD');
  });

  it('keeps the state bounded: a hundred times the windows take no more room', () => {
    const leader = startedLeader(jobOf({ shop: ['a', 'b'] }), 1, { config: { windowsKept: 20 } });
    let most = 0;
    for (let round = 0; round < 400; round++) {
      finish(leader, 5);
      leader.settle();
      for (let i = 0; i < 3; i++) {
        answer(leader);
        leader.settle();
      }
      const { windows, spans, tasks } = leader.world.state;
      most = Math.max(most, windows.size, spans.size / 2, tasks.size / 2);
    }
    expect(leader.world.source().lastWindow).toBe(2_000);
    // Those that are kept, twice a quarter of it, and what one round adds.
    expect(most).toBeLessThanOrEqual(20 + 2 * 5 + 2 * 5);
    expect(leader.world.source().droppedWindow).toBeGreaterThan(1_950);
  });
});
