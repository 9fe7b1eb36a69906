/**
 * Tasks: granting a version under a token, finishing it, parking it, waking what is parked (design 6.7, 6.8).
 */
import { LIMITS, mutated } from '../../base/index.ts';
import { nextToken, supersede } from './counters.ts';
import { idKey, spanKey, taskRowKey, taskRowKeyOf } from './keys.ts';
import type { ApplyMeta, FinishTask, GrantTask, OperationResult, ParkTask, WakeTasks } from './operations.ts';
import { taskKey, type ReportRecord, type SinkRecord, type TaskRecord } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import { isReconciled, notReconciled } from './sinks.ts';
import { isOpenTask, putTask } from './spans.ts';
import type { StateWriter } from './writer.ts';

export function applyGrantTask(writer: StateWriter, input: GrantTask, meta: ApplyMeta): OperationResult {
  const report = writer.reports.get(idKey(input.reportId));
  if (report?.generation !== input.generation) {
    return refuse('UNKNOWN_REPORT', `report ${input.reportId}/${input.generation} is not known`);
  }
  const sink = writer.sinks.get(idKey(report.sinkId));
  const current = writer.tasks.get(taskRowKey(input));
  const refusal = grantRefusal(writer, input, report, sink) ?? versionRefusal(input, current);
  if (refusal !== undefined) return refusal;

  const token = nextToken(writer, meta);
  const task: TaskRecord = {
    key: taskKey(input),
    reportId: input.reportId,
    generation: input.generation,
    sourceId: report.sourceId,
    sinkId: report.sinkId,
    firstWindow: input.firstWindow,
    lastWindow: input.lastWindow,
    part: input.part,
    version: input.version,
    token,
    superseded: supersede(current),
    sinkEpoch: sink?.epoch ?? '',
    executorId: input.executorId,
    purpose: input.purpose,
    state: 'ASSIGNED',
    assignedMs: meta.logTimeMs,
    heldSinceMs: mutated('state.eachVersionHeldAnew')
      ? meta.logTimeMs
      : (current?.heldSinceMs ?? meta.logTimeMs),
    attempts: (current?.attempts ?? 0) + (input.failedAttempt ? 1 : 0),
    wakeAtMs: 0,
    hole: current?.hole ?? false,
    reason: input.reason,
  };
  putTask(writer, task, meta);
  return accept({ key: task.key, version: task.version, token });
}

function grantRefusal(
  writer: StateWriter,
  input: GrantTask,
  report: ReportRecord,
  sink: SinkRecord | undefined,
): Refusal | undefined {
  const span = writer.spans.get(spanKey(input));
  if (span?.lastWindow !== input.lastWindow || input.part >= span.parts) {
    return refuse('UNKNOWN_TASK', `${taskKey(input)} is no task of an open span`);
  }
  if (writer.executors.get(idKey(input.executorId)) === undefined) {
    return refuse('UNKNOWN_EXECUTOR', `executor ${input.executorId} is not known`);
  }
  return isReconciled(sink) ? undefined : notReconciled(report.name);
}

function versionRefusal(input: GrantTask, current: TaskRecord | undefined): Refusal | undefined {
  if (current !== undefined && !isOpenTask(current)) {
    return refuse('TASK_FINISHED', `task ${current.key} is ${current.state}`);
  }
  const version = (current?.version ?? 0) + 1;
  if (input.version !== version) {
    return refuse('STALE_VERSION', `the next version of task ${taskKey(input)} is ${version}`);
  }
  return undefined;
}

/**
 * Ends a task. Only its current version may, under its token; repeating it answers as at first. A task that
 * is DEAD may still become SKIPPED (design 6.10): its hole is permanent then, and its span can be FINAL.
 */
export function applyFinishTask(writer: StateWriter, input: FinishTask, meta: ApplyMeta): OperationResult {
  const task = writer.tasks.get(taskRowKeyOf(input.key));
  if (task === undefined) return refuse('UNKNOWN_TASK', `task ${input.key} is not known`);
  const isCurrent = task.version === input.version && task.token === input.token;
  if (!isCurrent && !mutated('state.doneOfOldVersion')) {
    return refuse('STALE_VERSION', `the current version of task ${task.key} is ${task.version}`);
  }
  if (!isOpenTask(task)) {
    if (task.state === input.state) return accept({ key: task.key });
    if (task.state === 'DEAD' && input.state === 'SKIPPED') {
      // Its contribution is removed and its hole recorded already: this makes that final, no more.
      putTask(writer, { ...task, state: 'SKIPPED' }, meta);
      return accept({ key: task.key });
    }
    return refuse('TASK_FINISHED', `task ${task.key} is ${task.state}`);
  }
  const sink = writer.sinks.get(idKey(task.sinkId));
  if ((!isReconciled(sink) || sink.epoch !== task.sinkEpoch) && !mutated('sink.answerOfOldEpoch')) {
    return refuse('SINK_EPOCH', `task ${task.key} was granted under another epoch of its report database`);
  }
  if (!mayBecome(task, input.state)) {
    return refuse('BAD_REQUEST', `a version granted for ${task.purpose} does not end as ${input.state}`);
  }
  putTask(writer, { ...task, state: input.state, wakeAtMs: 0, hole: input.state !== 'DONE' }, meta);
  return accept({ key: task.key });
}

/**
 * A merge ends as DONE, or as CANCELLED where the sink has folded the window away; a retraction as what it is
 * for.
 */
function mayBecome(task: TaskRecord, state: FinishTask['state']): boolean {
  if (task.purpose === 'merge') return state === 'DONE' || state === 'CANCELLED';
  return state === task.purpose;
}

export function applyParkTask(writer: StateWriter, input: ParkTask, meta: ApplyMeta): OperationResult {
  const task = writer.tasks.get(taskRowKeyOf(input.key));
  if (task === undefined) return refuse('UNKNOWN_TASK', `task ${input.key} is not known`);
  if (task.version !== input.version) {
    return refuse('STALE_VERSION', `the current version of task ${task.key} is ${task.version}`);
  }
  if (task.state === 'PARKED') return accept({ key: task.key });
  if (task.state !== 'ASSIGNED') return refuse('TASK_FINISHED', `task ${task.key} is ${task.state}`);
  const attempts = task.attempts + 1;
  const wakeAtMs = meta.logTimeMs + input.delayMs;
  putTask(writer, { ...task, state: 'PARKED', attempts, wakeAtMs, reason: input.reason }, meta);
  return accept({ key: task.key });
}

export function applyWakeTasks(writer: StateWriter, input: WakeTasks, meta: ApplyMeta): OperationResult {
  const named = input.keys.length > 0;
  const tasks: TaskRecord[] = [];
  let more = false;
  for (const task of named ? namedTasks(writer, input.keys) : writer.openTasks.values()) {
    const wakes = (task.state === 'PARKED' && task.wakeAtMs > meta.logTimeMs) || task.state === 'DEAD';
    if (!wakes) continue;
    more = tasks.length === LIMITS.tasksWokenPerOperationMax;
    if (more) break;
    tasks.push(task);
  }
  for (const task of tasks) wake(writer, task, meta);
  return accept({ woken: tasks.length, more });
}

function* namedTasks(writer: StateWriter, keys: readonly string[]): IterableIterator<TaskRecord> {
  for (const key of new Set(keys)) {
    const task = writer.tasks.get(taskRowKeyOf(key));
    if (task !== undefined) yield task;
  }
}

/** A dead task's hole closes only when the new try is done; until then its span is not MERGED any more. */
function wake(writer: StateWriter, task: TaskRecord, meta: ApplyMeta): void {
  const wasDead = task.state === 'DEAD';
  const again = wasDead ? ({ purpose: 'merge', attempts: 0, heldSinceMs: meta.logTimeMs } as const) : {};
  putTask(writer, { ...task, ...again, state: 'PARKED', wakeAtMs: meta.logTimeMs }, meta);
}
