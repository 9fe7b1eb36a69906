/** What stays open for too long: permanent holes, and what they hold back until then (design 6.10). */
import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import type { DeclareJob } from '../../src/statemachine/index.ts';
import { jobOf } from '../statemachine/support/world.ts';
import { rule } from '../support/rule.ts';
import { done, settleAll, type Answer } from './support/answers.ts';
import { outcomeOf, startedLeader, type Leader } from './support/leader.ts';

/** Sales read row states, so that other reports can begin from them. */
function job(...more: readonly string[]): DeclareJob {
  const declared = jobOf({ shop: ['sales', ...more] });
  const reports = declared.reports.map((report) => ({ ...report, readsStates: report.name === 'sales' }));
  return { ...declared, reports };
}

function sealed(leader: Leader, windows: number, answer: Answer = done): void {
  for (let i = 0; i < windows; i++) {
    leader.world.seal();
    settleAll(leader, answer);
  }
}

/** Every task of report 2 fails for good, and is retracted then. */
const secondDies: Answer = (task) =>
  task.reportId === 2 && task.purpose === 'merge'
    ? outcomeOf(task, { result: 'FAILED', code: 'KEY_NULL', message: 'why' })
    : done(task);

describe('a first span, over everything before its report', () => {
  it('that is dead is skipped though its first windows are dropped', () => {
    const leader = startedLeader(job(), 2, { config: { windowsKept: 4 } });
    sealed(leader, 230);
    expect(leader.world.window(1)).toBeUndefined();
    leader.world.accept(job('late'));
    sealed(leader, 1, secondDies);
    expect(leader.world.report(2).baseWindow).toBe(230);
    expect(leader.world.task('2/1/1/0')).toMatchObject({ state: 'DEAD', lastWindow: 230 });
    leader.pass(leader.config.holeRetentionMs);
    settleAll(leader);
    expect(leader.world.report(2)).toMatchObject({ finalWindow: 231 });
  });

  it('holds back no more than the windows behind it', () => {
    const config = { windowsKept: 4, windowsHeldMax: 15, tasksKeptMax: 5 };
    const leader = startedLeader(job(), 2, { config });
    sealed(leader, 30);
    leader.world.accept(job('late'));
    sealed(leader, 1, secondDies);
    expect(leader.world.state.tasks.size).toBeGreaterThan(5);
    expect(leader.world.task('2/1/1/0').state).toBe('DEAD');
    sealed(leader, 15);
    expect(leader.world.task('2/1/1/0').state).toBe('SKIPPED');
  });

  rule('scheduler.statesNotAwaited', 'waits until the row states have what it is computed from', () => {
    const leader = startedLeader(jobOf(), 2);
    sealed(leader, 3);
    leader.world.accept(jobOf({ shop: ['sales', 'late'] }));
    const { states } = leader.world.source();
    expect(states).toMatchObject([{ window: 0 }]);
    expect(leader.world.report(2)).toMatchObject({ readsStates: false, baseWindow: 3 });
    leader.settle();
    const token = leader.world.report(2).change?.token ?? '';
    leader.round({ type: 'prepare-outcome', sourceId: 1, token, copies: [], code: '', message: '' });
    leader.settle();
    // Its tables are there, the row states of windows 1 to 3 are not.
    expect(leader.world.report(2)).toMatchObject({ phase: 'live', nextWindow: 1 });
    settleAll(leader);
    expect(leader.world.report(2)).toMatchObject({ nextWindow: 4, finalWindow: 3 });
  });
});

describe('a paused report', () => {
  const paused = (value: boolean): DeclareJob => {
    const declared = jobOf({ shop: ['sales', 'other'] });
    return {
      ...declared,
      reports: declared.reports.map((report) => ({ ...report, paused: value && report.name === 'other' })),
    };
  };

  rule('scheduler.pausedHoldsForEver', 'lets go of windows that are older than the retention', () => {
    const leader = startedLeader(paused(true), 2, { config: { windowsKept: 4 } });
    sealed(leader, 20);
    leader.pass(leader.config.holeRetentionMs - 1);
    sealed(leader, 1);
    expect(leader.world.report(2)).toMatchObject({ nextWindow: 1, holes: 0 });
    expect(leader.world.source().horizon).toBe(0);
    leader.pass(1);
    settleAll(leader);
    // Of twenty windows that are too old each one is in a hole; the young one waits.
    expect(leader.world.report(2)).toMatchObject({ nextWindow: 21, finalWindow: 20 });
    expect(leader.world.report(2).holes).toBeGreaterThan(0);
    leader.world.accept(paused(false));
    settleAll(leader);
    expect(leader.world.report(2)).toMatchObject({ nextWindow: 22, finalWindow: 21 });
    expect(leader.world.task('2/1/21/0').state).toBe('DONE');
    sealed(leader, 10);
    expect(leader.world.source().horizon).toBeGreaterThan(0);
  });
});

describe('row states that went back', () => {
  /** The only shard answers that its mark is at a window. */
  function markedAt(leader: Leader, window: number): void {
    leader.world.seal();
    leader.settle();
    const token = leader.world.source().states?.[0]?.grant?.token ?? '';
    const of = { type: 'states-outcome', sourceId: 1, shard: 's1', token } as const;
    leader.round({ ...of, window, code: 'STATE_GAP', message: 'x' });
  }

  rule('state.noStatesReserve', 'find the windows that they need for a while', () => {
    const leader = startedLeader(job(), 1, { config: { windowsKept: 4 } });
    sealed(leader, 60);
    markedAt(leader, 5);
    expect(leader.world.source().states).toMatchObject([{ window: 5, problem: '' }]);
    settleAll(leader);
    expect(leader.world.source().states).toMatchObject([{ window: 61, problem: '' }]);
  });

  rule(
    'state.gapNeverAsked',
    'further than is kept are asked again, and go on once they have come back',
    () => {
      const leader = startedLeader(job(), 1, { config: { windowsKept: 4 } });
      sealed(leader, LIMITS.statesReserveWindows + 60);
      markedAt(leader, 5);
      const problem = () => leader.world.source().states?.[0]?.problem;
      expect(problem()).toMatch(/^STATE_GAP: window 6 is not kept any more; the shard goes on when/);
      leader.settle();
      const grant = leader.world.source().states?.[0]?.grant;
      expect(leader.world.window((grant?.firstWindow ?? 0) - 1)).toBeUndefined();
      expect(leader.world.window(grant?.firstWindow ?? 0)).toBeDefined();
      markedAt(leader, 5);
      expect(problem()).toMatch(/^STATE_GAP: window 6 is not kept any more; the shard goes on when/);
      settleAll(leader);
      expect(leader.world.source().states).toMatchObject([
        { window: leader.world.source().lastWindow, problem: '' },
      ]);
    },
  );
});

describe('a report database that is down', () => {
  it('leaves one record a window, and tasks and spans up to a bound', () => {
    const names = Array.from({ length: 20 }, (_, at) => `r${at}`);
    const config = { tasksOpenMax: 100, parkCapMs: 1_000 };
    const leader = startedLeader(jobOf({ shop: names }), 4, { slots: 8, config });
    const { state } = leader.world;
    for (let sealedTo = 0; sealedTo < 1_000; sealedTo += 10) {
      for (let i = 0; i < 10; i++) leader.world.seal();
      leader.pass(3_000);
      const assigned = [...state.openTasks.values()].filter((task) => task.state === 'ASSIGNED');
      const down = { result: 'FAILED', code: 'DB_UNREACHABLE', message: 'down' } as const;
      const planned = leader.round(...assigned.map((task) => outcomeOf(task, down)));
      expect(planned.operations.length).toBeLessThanOrEqual(leader.config.operationsPerRoundMax);
    }
    expect(state.windows.size).toBe(1_000);
    expect(state.tasks.size).toBe(100);
    expect(state.spans.size).toBe(100);
  });
});
