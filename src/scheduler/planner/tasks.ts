/** Tasks that were granted before: followed, sent again, given a new version. */
import { mutated } from '../../base/index.ts';
import { idKey, isPrepared, type TaskRecord } from '../../statemachine/index.ts';
import { taskTimeMs } from '../task-time.ts';
import type { Round } from './round.ts';
import { workWaits } from './spans.ts';
import { statesReach } from './states.ts';

export function planOpenTasks(round: Round): void {
  // Due tasks of the delay queue take at most half of the free room while new windows wait.
  const free = round.placement.freeTasks();
  let wakesLeft = workWaits(round.input.view) ? Math.ceil(free / 2) : free;
  for (const task of round.input.view.openTasks.values()) {
    if (round.full) return;
    if (round.decidedTasks.has(task.key) || round.readySink(task.sinkId) === undefined) continue;
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
  if (report === undefined) return true;
  if (!isPrepared(view, report)) return false;
  if (task.purpose !== 'merge' || isPastRetention(round, task)) return true;
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
  if (now.logTimeMs - task.heldSinceMs >= config.holeRetentionMs) return true;
  return view.tasks.size > config.tasksKeptMax && holdsTooMuch(round, task);
}

/**
 * What lies behind a hole that may yet close is not folded. So that the state stays bounded, the oldest hole
 * of a report becomes permanent early when it holds back very much and there are too many tasks to keep.
 */
function holdsTooMuch({ input }: Round, task: TaskRecord): boolean {
  const report = input.view.reports.get(idKey(task.reportId));
  if (report?.generation !== task.generation || task.firstWindow !== report.finalWindow + 1) return false;
  return report.nextWindow - task.lastWindow > input.config.windowsHeldMax;
}

/** Dead tasks hold their windows until the retention is over; then the hole is permanent (design 6.10). */
export function planDeadTasks(round: Round): void {
  for (const task of round.input.view.deadTasks.values()) {
    if (round.full) return;
    // They are in the order of their windows, not of their retention: a young one says nothing of the next.
    if (!isPastRetention(round, task)) continue;
    const { key, version, token } = task;
    round.operations.push({
      cause: 'skipped',
      operation: { type: 'task.finish', v: 1, key, version, token, state: 'SKIPPED' },
    });
  }
}

function planAssigned(round: Round, task: TaskRecord): void {
  const { view, executors } = round.input;
  const { executorId, token } = task;
  const held = executors.get(executorId)?.running.has(token) === true;
  if (!round.judgement.liveness.has(executorId)) {
    round.grantAgain(task, { cause: 'executor-gone', failedAttempt: held });
    return;
  }
  if (view.sinks.get(idKey(task.sinkId))?.epoch !== task.sinkEpoch) {
    round.grantAgain(task, { cause: 'sink-epoch', failedAttempt: false });
    return;
  }
  if (isLate(round, task)) {
    planHung(round, task);
    return;
  }
  const report = view.reports.get(idKey(task.reportId));
  if (report === undefined || !isPrepared(view, report)) return;
  if (round.needsDispatch(executorId, token, held) || round.isLost(executorId, token, held)) {
    round.dispatches.push({ kind: 'task', executorId, task });
  }
}

/**
 * A task has more time for large windows and a large result, which comes piece by piece and is told by
 * heartbeats: what goes on is not hung. Each failed attempt is given as much again.
 */
function isLate({ input }: Round, task: TaskRecord): boolean {
  const { view, now, config, executors } = input;
  const tookMs = now.logTimeMs - task.assignedMs;
  if (tookMs < config.taskDeadlineMs * (1 + task.attempts)) return false;
  if (mutated('scheduler.deadlineIgnoresSize')) return true;
  const rows = executors.get(task.executorId)?.rows.get(task.token) ?? 0;
  return tookMs >= taskTimeMs(config, view, task, rows);
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
