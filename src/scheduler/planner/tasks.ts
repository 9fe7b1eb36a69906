/** Tasks that were granted before (followed, sent again, given a new version), and tasks that never were. */
import {
  idKey,
  reportsOf,
  taskRowKey,
  windowKey,
  windowPrefix,
  type ReportRecord,
  type StateView,
  type TaskRecord,
  type WindowRecord,
} from '../../statemachine/index.ts';
import type { Round } from './round.ts';
import { statesReach } from './states.ts';

export function planOpenTasks(round: Round): void {
  // Due tasks of the delay queue take at most half of the free room while new windows wait.
  const free = round.placement.freeTasks();
  let wakesLeft = round.input.view.pendingWindows.size === 0 ? free : Math.ceil(free / 2);
  for (const task of round.input.view.openTasks.values()) {
    if (round.full) return;
    if (round.decidedTasks.has(task.key)) continue;
    if (task.state === 'ASSIGNED') planAssigned(round, task);
    else if (wakesLeft > 0 && isDue(round, task)) {
      if (wake(round, task)) wakesLeft -= 1;
    }
  }
}

function isDue(round: Round, task: TaskRecord): boolean {
  const { view, now } = round.input;
  if (task.wakeAtMs > now.logTimeMs) return false;
  const report = view.reports.get(idKey(task.reportId));
  if (report === undefined || task.purpose !== 'merge' || isPastRetention(round, task)) return true;
  return statesReach(view, report, task.lastWindow);
}

/** Another try, or, past the retention, a retraction that ends in a permanent hole. */
function wake(round: Round, task: TaskRecord): boolean {
  const options = { cause: 'woken', failedAttempt: false, avoid: task.executorId } as const;
  if (!isPastRetention(round, task)) return round.grantAgain(task, options);
  return round.grantAgain(task, { ...options, purpose: 'SKIPPED' });
}

function isPastRetention(round: Round, task: TaskRecord): boolean {
  const { view, now, config } = round.input;
  const sealedMs = view.windows.get(windowKey(task.sourceId, task.firstWindow))?.sealedMs;
  return sealedMs !== undefined && now.logTimeMs - sealedMs >= config.holeRetentionMs;
}

/** Dead tasks hold their windows until the retention is over; then the hole is permanent (design 6.10). */
export function planDeadTasks(round: Round): void {
  for (const task of round.input.view.deadTasks.values()) {
    if (round.full) return;
    // Windows of several sources are numbered apart: a young one says nothing about those behind it.
    if (!isPastRetention(round, task)) continue;
    const { key, version, token } = task;
    round.operations.push({
      cause: 'skipped',
      operation: { type: 'task.finish', v: 1, key, version, token, state: 'SKIPPED' },
    });
  }
}

function planAssigned(round: Round, task: TaskRecord): void {
  const { view, now, config, executors } = round.input;
  const { executorId, token } = task;
  const held = executors.get(executorId)?.running.has(token) === true;
  if (!round.judgement.liveness.has(executorId)) {
    round.grantAgain(task, { cause: 'executor-gone', failedAttempt: held });
    return;
  }
  const sinkEpoch = view.sinks.get(idKey(task.sinkId))?.epoch ?? null;
  if (sinkEpoch !== null && sinkEpoch !== task.sinkEpoch) {
    round.grantAgain(task, { cause: 'sink-epoch', failedAttempt: false });
    return;
  }
  if (now.logTimeMs - task.assignedMs >= config.taskDeadlineMs * (1 + task.attempts)) {
    planHung(round, task);
    return;
  }
  if (round.needsDispatch(executorId, token, held) || round.isLost(executorId, token, held)) {
    round.dispatches.push({ kind: 'task', executorId, task });
  }
}

/**
 * Past its deadline: the next version goes elsewhere and the old one's connection is killed; at last it is
 * parked.
 */
function planHung(round: Round, task: TaskRecord): void {
  if (task.attempts + 1 >= round.input.config.attemptsMax) {
    round.park(task, 'past its deadline');
    return;
  }
  round.grantAgain(task, { cause: 'hung', failedAttempt: true, avoid: task.executorId });
}

/** First grants: the oldest windows first, the sources taking turns. */
export function planPendingTasks(round: Round): void {
  const { view, config } = round.input;
  let room = Math.min(round.placement.freeTasks(), config.tasksOpenMax - view.openTasks.size);
  if (room <= 0) return;
  for (const window of pendingInTurns(view)) {
    for (const identity of pendingTasksOf(round, window)) {
      if (round.full || room <= 0) return;
      const executorId = round.placement.takeForTask();
      if (executorId === undefined) return;
      room -= 1;
      round.operations.push({
        cause: 'first-grant',
        operation: {
          type: 'task.grant',
          v: 1,
          ...identity,
          lastWindow: identity.firstWindow,
          version: 1,
          executorId,
          purpose: 'merge',
          reason: '',
          failedAttempt: false,
        },
      });
    }
  }
}

/** How many windows with pending tasks are looked at per source and round. */
const WINDOWS_PER_SOURCE_MAX = 256;

/**
 * The oldest window of each source, then the second oldest of each, and so on: one source never starves
 * another.
 */
function* pendingInTurns(view: StateView): IterableIterator<WindowRecord> {
  let queues = [...view.sources.values()].map((source) =>
    view.pendingWindows.withPrefix(windowPrefix(source.id)),
  );
  for (let turn = 0; turn < WINDOWS_PER_SOURCE_MAX && queues.length > 0; turn++) {
    const left: typeof queues = [];
    for (const queue of queues) {
      const next = queue.next();
      if (next.done === true) continue;
      yield next.value;
      left.push(queue);
    }
    queues = left;
  }
}

function* pendingTasksOf(
  round: Round,
  window: WindowRecord,
): IterableIterator<Pick<TaskRecord, 'reportId' | 'generation' | 'firstWindow' | 'part'>> {
  const { view } = round.input;
  for (const report of reportsOf(view, { id: window.sourceId }, window.window)) {
    if (!hasSinkEpoch(round, report) || !statesReach(view, report, window.window)) continue;
    for (let part = 0; part < report.parts; part++) {
      const identity = {
        reportId: report.id,
        generation: report.generation,
        firstWindow: window.window,
        part,
      };
      if (view.tasks.get(taskRowKey(identity)) === undefined) yield identity;
    }
  }
}

function hasSinkEpoch(round: Round, report: ReportRecord): boolean {
  return (round.input.view.sinks.get(idKey(report.sinkId))?.epoch ?? null) !== null;
}
