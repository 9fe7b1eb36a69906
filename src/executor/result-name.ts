import { TaskResult } from '../wire/index.ts';

const NAMES = new Map<number, string>(
  Object.entries(TaskResult).map(([name, value]) => [value, name.replace('TASK_RESULT_', '')]),
);

/** Names a task's result for people and labels: DONE, FENCED, FOLDED, FAILED, RETRACTED. */
export function resultName(result: TaskResult): string {
  return NAMES.get(result) ?? 'UNKNOWN';
}
