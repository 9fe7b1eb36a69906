/** How long a try of a task may take (design section 7). */
import { idKey, windowKey, type StateView, type TaskRecord } from '../statemachine/index.ts';
import type { PlannerConfig } from './planner/types.ts';

export type TaskTimes = Pick<PlannerConfig, 'taskDeadlineMs' | 'taskThousandRowsMs' | 'firstTaskDeadlineMs'>;

/**
 * Gives the milliseconds of a task's present try: more for large windows and for rows of its result, and with
 * each failed attempt as much again. `rows` are those that it has told of.
 */
export function taskTimeMs(times: TaskTimes, view: StateView, task: TaskRecord, rows = 0): number {
  let all = rows;
  for (let window = task.firstWindow; window <= task.lastWindow; window += 1) {
    for (const shard of view.windows.get(windowKey(task.sourceId, window))?.shards ?? []) all += shard.rows;
  }
  const { baseWindow = 0 } = view.reports.get(idKey(task.reportId)) ?? {};
  const fromStates = task.firstWindow <= baseWindow;
  const leastMs = fromStates ? times.firstTaskDeadlineMs : times.taskDeadlineMs;
  return (leastMs + Math.floor(all / 1_000) * times.taskThousandRowsMs) * (1 + task.attempts);
}
