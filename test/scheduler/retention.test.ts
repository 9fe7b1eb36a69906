/** What stays open for too long: permanent holes, and what they hold back until then (design 6.10). */
import { describe, expect, it } from 'vitest';
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
    sealed(leader, 30);
    expect(leader.world.window(1)).toBeUndefined();
    leader.world.accept(job('late'));
    sealed(leader, 1, secondDies);
    expect(leader.world.report(2).baseWindow).toBe(30);
    expect(leader.world.task('2/1/1/0')).toMatchObject({ state: 'DEAD', lastWindow: 30 });
    leader.pass(leader.config.holeRetentionMs);
    settleAll(leader);
    expect(leader.world.report(2)).toMatchObject({ finalWindow: 31 });
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
