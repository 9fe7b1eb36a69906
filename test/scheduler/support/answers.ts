import type { Outcome, Plan } from '../../../src/scheduler/planner/types.ts';
import type { TaskRecord } from '../../../src/statemachine/index.ts';
import { outcomeOf, type Leader } from './leader.ts';

/** What executors do with a task; undefined while they have not answered. */
export type Answer = (task: TaskRecord) => Outcome | undefined;

export const done: Answer = (task) =>
  outcomeOf(task, { result: task.purpose === 'merge' ? 'DONE' : 'RETRACTED' });

/** Answers every grant that there is, tasks as `answer` says and all others as done, and plans a round. */
export function answerAll(leader: Leader, answer: Answer = done): Plan {
  const { openTasks, sources, reports } = leader.world.state;
  const outcomes: Outcome[] = [];
  for (const task of openTasks.values()) {
    const outcome = task.state === 'ASSIGNED' ? answer(task) : undefined;
    if (outcome !== undefined) outcomes.push(outcome);
  }
  const ok = { code: '', message: '' } as const;
  for (const { id: sourceId, states, drop } of sources.values()) {
    for (const { shard, grant } of states ?? []) {
      if (grant === null) continue;
      const { token, lastWindow: window } = grant;
      outcomes.push({ type: 'states-outcome', sourceId, shard, token, window, ...ok });
    }
    if (drop !== null) outcomes.push({ type: 'housekeeping-outcome', ...drop, ...ok });
  }
  for (const { sourceId, fold, change } of reports.values()) {
    if (fold !== null) outcomes.push({ type: 'housekeeping-outcome', ...fold, ...ok });
    if (change === null) continue;
    outcomes.push({ type: 'prepare-outcome', sourceId, token: change.token, copies: [], ...ok });
  }
  return leader.round(...outcomes);
}

/** Rounds until nothing is answered or planned any more. */
export function settleAll(leader: Leader, answer: Answer = done): void {
  for (let i = 0; i < 500; i++) {
    const planned = answerAll(leader, answer);
    if (planned.operations.length === 0 && planned.dispatches.length === 0) return;
  }
  throw new Error('the work does not come to rest');
}
