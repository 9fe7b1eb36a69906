/** The list of tasks that people read: those with a record, and those that are still to be granted. */
import { mutated, parseToken } from '../../base/index.ts';
import { idKey, isRetired, spanPrefix, taskKey, taskRowKey } from '../../statemachine/index.ts';
import { windowKey } from '../../statemachine/index.ts';
import type { ReportRecord, StateView, TaskRecord, TasksView } from '../../statemachine/index.ts';
import type { ListTasksRequest, TaskInfo } from '../../wire/index.ts';
import { bounded } from './lists.ts';

const TASKS_SHOWN = 100;
const TASKS_LOOKED_AT_MAX = 100_000;

/** Newest first windows first; at most a bounded number of tasks is looked at. */
export function listTasks(view: StateView, request: ListTasksRequest): TaskInfo[] {
  const { state } = request;
  const limit = bounded(request.limit, TASKS_SHOWN);
  const pending = state === '' || state === 'pending' ? pendingTasks(view, limit) : [];
  const known = state === 'pending' ? [] : knownTasks(view, state, limit);
  return newest([...pending, ...known], limit);
}

function newest(tasks: TaskInfo[], limit: number): TaskInfo[] {
  return tasks.sort((one, other) => Number(other.firstWindow - one.firstWindow)).slice(0, limit);
}

/** The first window of a task may have no record any more, so that tasks are walked by their own keys. */
function knownTasks(view: StateView, state: string, limit: number): TaskInfo[] {
  const found: TaskInfo[] = [];
  let looked = 0;
  for (const task of tableOf(view, state).valuesBack()) {
    if (found.length >= limit || looked >= TASKS_LOOKED_AT_MAX) break;
    if (mutated('lists.tasksOfKeptWindows') && !isKept(view, task)) break;
    looked += 1;
    if (state === '' || task.state === state) found.push(taskInfo(view, task));
  }
  return found;
}

const isKept = (view: StateView, { sourceId, firstWindow }: TaskRecord): boolean =>
  view.windows.get(windowKey(sourceId, firstWindow)) !== undefined;

/** The smallest table that has all tasks of a state: those that need somebody are few. */
function tableOf(view: StateView, state: string): TasksView {
  if (state === 'DEAD') return view.deadTasks;
  return state === 'ASSIGNED' || state === 'PARKED' ? view.openTasks : view.tasks;
}

function taskInfo(view: StateView, task: TaskRecord): TaskInfo {
  return {
    task: task.key,
    report: view.reports.get(idKey(task.reportId))?.name ?? '',
    firstWindow: BigInt(task.firstWindow),
    lastWindow: BigInt(task.lastWindow),
    part: task.part,
    version: task.version,
    token: parseToken(task.token),
    state: task.state,
    executorId: BigInt(task.executorId),
    reason: task.reason,
    attempts: task.attempts,
  };
}

/** A task is pending when its windows are sealed and no version of it was ever granted. */
function pendingTasks(view: StateView, limit: number): TaskInfo[] {
  let found: TaskInfo[] = [];
  for (const report of view.reports.values()) {
    if (!isRetired(report)) found = newest([...found, ...pendingOf(view, report, limit)], limit);
  }
  return found;
}

interface Windows {
  readonly firstWindow: number;
  readonly lastWindow: number;
}

function pendingOf(view: StateView, report: ReportRecord, limit: number): TaskInfo[] {
  const { id: reportId, generation } = report;
  const found: TaskInfo[] = [];
  for (const windows of pendingWindows(view, report)) {
    if (found.length >= limit) break;
    for (let part = 0; part < report.parts; part += 1) {
      const identity = { reportId, generation, firstWindow: windows.firstWindow, part };
      if (view.tasks.get(taskRowKey(identity)) !== undefined) continue;
      found.push(pendingTask(report, windows, part));
    }
  }
  return found;
}

/**
 * Newest first. Windows that no span covers yet are listed each for itself, but those that a report began
 * behind become one task (design 6.6).
 */
function* pendingWindows(view: StateView, report: ReportRecord): Generator<Windows> {
  const { id, generation, nextWindow } = report;
  const baseWindow = mutated('lists.pendingByWindow') ? 0 : report.baseWindow;
  const sealed = view.sources.get(idKey(report.sourceId))?.lastWindow ?? 0;
  const last = report.stopped === null ? sealed : Math.min(sealed, report.stopped.window - 1);
  for (let window = last; window >= nextWindow && window > baseWindow; window -= 1) {
    yield { firstWindow: window, lastWindow: window };
  }
  if (nextWindow <= baseWindow && baseWindow <= last)
    yield { firstWindow: nextWindow, lastWindow: baseWindow };
  const spans = [...view.pendingSpans.withPrefix(spanPrefix(id))];
  yield* spans.filter((span) => span.generation === generation).reverse();
}

function pendingTask(report: ReportRecord, { firstWindow, lastWindow }: Windows, part: number): TaskInfo {
  const { id: reportId, generation, name } = report;
  return {
    task: taskKey({ reportId, generation, firstWindow, part }),
    report: name,
    firstWindow: BigInt(firstWindow),
    lastWindow: BigInt(lastWindow),
    part,
    version: 0,
    token: 0n,
    state: 'pending',
    executorId: 0n,
    reason: '',
    attempts: 0,
  };
}
