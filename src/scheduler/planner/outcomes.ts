/** From what executors report to operations: finish, another executor, parking, or the way to DEAD. */
import { mutated, type ErrorCode } from '../../base/index.ts';
import {
  idKey,
  isReconciled,
  openPrepare,
  taskRowKeyOf,
  type SourceRecord,
  type TaskRecord,
} from '../../statemachine/index.ts';
import { planLostWindows } from './lost-windows.ts';
import { backoff, type Round } from './round.ts';
import { planReportOutcome } from './generations.ts';
import { planHousekeepingOutcome } from './housekeeping.ts';
import { planStatesOutcome } from './states.ts';
import type { Outcome, PlannedOperation, SinkOutcome, TaskOutcome } from './types.ts';

/** Failures that the same SQL over the same rows gives again: trying elsewhere is no use, a hole is left. */
const DETERMINISTIC: ReadonlySet<ErrorCode | ''> = new Set<ErrorCode>([
  'SQL_INVALID',
  'SQL_COLUMNS',
  'MEASURE_TYPE',
  'COLUMN_TYPE',
  'KEY_NULL',
  'KEY_TWICE',
  'SQL_WRITES',
  'DIVISION_BY_ZERO',
  'VALUE_RANGE',
  'TABLE_MISSING',
  'DECIMAL_EMBEDDED',
  'CONTRIBUTION_TOO_LARGE',
  'GATHER_TOO_LARGE',
]);

/**
 * Failures that speak of the report database, not of the work: it is not what it was when the work was
 * granted.
 */
const DOUBTS: ReadonlySet<ErrorCode | ''> = new Set<ErrorCode>([
  'SINK_EPOCH',
  'SINK_SERVER',
  'SINK_OF_OTHER_CLUSTER',
]);

/** What a probe finds where a report database was put back to an earlier state. */
const LOSSES: ReadonlySet<ErrorCode | ''> = new Set<ErrorCode>(['SINK_LOSS', 'TABLE_MISSING']);

/** Characters of a reason that a DEAD task keeps; the ledger keeps the first 200. */
const REASON_MAX = 400;

export function planOutcomes(round: Round): void {
  for (const outcome of round.input.outcomes) {
    if (round.full) round.waiting.push(outcome);
    else planOutcome(round, outcome);
  }
}

function planOutcome(round: Round, outcome: Outcome): void {
  switch (outcome.type) {
    case 'task-outcome':
      planTaskOutcome(round, outcome);
      return;
    case 'housekeeping-outcome':
      if (!planHousekeepingOutcome(round, outcome)) round.stale.push(outcome);
      return;
    case 'states-outcome':
      planStatesOutcome(round, outcome);
      return;
    case 'prepare-outcome':
      planPrepareOutcome(round, outcome);
      return;
    case 'sink-failed':
      planSinkFailed(round, outcome);
      return;
    case 'sink-doubted':
      planSinkDoubted(round, outcome);
      return;
    case 'collector-stopped':
      planCollectorStopped(round, outcome);
      return;
    case 'executor-goodbye':
      planGoodbye(round, outcome);
      return;
  }
}

function planTaskOutcome(round: Round, outcome: TaskOutcome): void {
  const task = round.input.view.openTasks.get(taskRowKeyOf(outcome.key));
  if (task?.token !== outcome.token || task.version !== outcome.version) {
    round.stale.push(outcome);
    return;
  }
  // Whatever was done under another epoch counts for nothing (design 6.12).
  const sink = round.input.view.sinks.get(idKey(task.sinkId));
  if (!isReconciled(sink) || sink.epoch !== task.sinkEpoch) {
    round.stale.push(outcome);
    return;
  }
  // A copy of the same outcome, from a version that was sent twice.
  if (round.decidedTasks.has(task.key)) return;
  switch (outcome.result) {
    case 'DONE':
      finish(round, task, 'DONE');
      return;
    case 'RETRACTED':
      finish(round, task, task.purpose === 'merge' ? 'CANCELLED' : task.purpose);
      return;
    case 'FOLDED':
      // Final by the sink's word: nothing of this window can change any more.
      finish(round, task, task.purpose === 'merge' ? 'CANCELLED' : task.purpose);
      return;
    case 'FENCED':
      climb(round, task, 'fenced', 'FENCED');
      return;
    case 'FAILED':
      planFailure(round, task, outcome);
      return;
  }
}

function finish(round: Round, task: TaskRecord, state: 'DONE' | 'DEAD' | 'SKIPPED' | 'CANCELLED'): void {
  round.decidedTasks.add(task.key);
  if (task.state === 'ASSIGNED') round.placement.add(task.executorId, -1);
  round.operations.push({
    cause: 'finished',
    operation: { type: 'task.finish', v: 1, key: task.key, version: task.version, token: task.token, state },
  });
}

function planFailure(round: Round, task: TaskRecord, outcome: TaskOutcome): void {
  const isLoss = outcome.code === 'SINK_LOSS' && !mutated('scheduler.lossIsNoDoubt');
  if (DOUBTS.has(outcome.code) || isLoss) {
    // It stays assigned: it gets a new version once the report database is reconciled.
    round.doubtedSinks.add(task.sinkId);
    return;
  }
  const reason = outcome.message === '' ? outcome.code : `${outcome.code}: ${outcome.message}`;
  const { lostWindow } = outcome;
  if (lostWindow !== undefined && task.state === 'ASSIGNED') {
    const isLost = planLostWindows(round, { ...task, firstWindow: lostWindow });
    if (isLost) {
      round.park(task, reason);
      return;
    }
  }
  if (outcome.code === 'DIMENSION_LOST' && task.state === 'ASSIGNED') {
    loseCopies(round, task, reason);
    return;
  }
  if (task.purpose !== 'merge' || !isForGood(round, task, outcome.code)) {
    climb(round, task, 'failed', reason);
    return;
  }
  const granted = round.grantAgain(task, {
    cause: 'dead',
    failedAttempt: true,
    purpose: 'DEAD',
    reason: reason.slice(0, REASON_MAX),
  });
  if (granted) return;
  round.decidedTasks.add(task.key);
  round.waiting.push(outcome);
}

/** Whether no other try is worth its time. Another server, or this one a little later, may be quicker. */
function isForGood(round: Round, task: TaskRecord, code: ErrorCode | ''): boolean {
  if (code !== 'SQL_TOO_SLOW') return DETERMINISTIC.has(code);
  const isLast = task.attempts + 1 >= round.input.config.slowAttemptsMax;
  return isLast && !mutated('scheduler.slowForEver');
}

/** Its report's copies are made again, or the report begins anew: nobody can do the task before. */
function loseCopies(round: Round, task: TaskRecord, reason: string): void {
  const { reportId, generation } = task;
  const report = round.input.view.reports.get(idKey(reportId));
  if (report?.generation === generation && !report.copiesLost && !round.decidedReports.has(reportId)) {
    round.decidedReports.add(reportId);
    const { prepared } = report;
    round.operations.push({
      cause: 'copies-lost',
      operation: { type: 'copies.lose', v: 1, reportId, generation, prepared },
    });
  }
  round.park(task, reason);
}

/**
 * The ladder: another executor under a new version; after the last attempt, or with nobody to go to, parked.
 */
function climb(round: Round, task: TaskRecord, cause: 'failed' | 'fenced', reason: string): void {
  // What is parked is granted anew when it is due; a late failure of its last version changes nothing.
  if (task.state === 'PARKED') return;
  const attempts = task.attempts + 1;
  if (attempts < round.input.config.attemptsMax) {
    const options = { cause, failedAttempt: true, avoid: task.executorId };
    const kept = task.purpose === 'merge' ? { ...options, reason } : options;
    if (round.grantAgain(task, kept)) return;
  }
  round.park(task, reason);
}

function planPrepareOutcome(round: Round, outcome: Extract<Outcome, { type: 'prepare-outcome' }>): void {
  const source = round.input.view.sources.get(idKey(outcome.sourceId));
  const prepare = source === undefined ? null : openPrepare(source);
  if (source === undefined || prepare?.token !== outcome.token) {
    if (!planReportOutcome(round, outcome)) round.stale.push(outcome);
    return;
  }
  const ofAddition = source.prepare?.done === true;
  const failures = ofAddition ? (source.addition?.attempts ?? 0) : failuresInARow(round, source);
  if (DOUBTS.has(outcome.code)) round.doubtedSinks.add(source.sinkId);
  round.decidedSources.add(source.id);
  round.operations.push({
    cause: 'prepare-finished',
    operation: {
      type: 'prepare.finish',
      v: 1,
      sourceId: source.id,
      token: outcome.token,
      copies: outcome.copies,
      errorCode: outcome.code,
      errorMessage: outcome.message,
      retryAfterMs: outcome.code === '' ? 0 : retryDelay(round, failures),
    },
    // What keeps tables from being added is no failure of the source, and is counted beside it.
    ...(ofAddition ? {} : failureOf(round, source, prepare.executorId, outcome.code)),
  });
}

function planCollectorStopped(round: Round, outcome: Extract<Outcome, { type: 'collector-stopped' }>): void {
  const source = round.input.view.sources.get(idKey(outcome.sourceId));
  if (source?.collector?.epoch !== outcome.epoch) {
    round.stale.push(outcome);
    return;
  }
  round.decidedSources.add(source.id);
  round.operations.push({
    cause: 'collector-stopped',
    operation: {
      type: 'collector.stop',
      v: 1,
      sourceId: source.id,
      epoch: outcome.epoch,
      errorCode: outcome.code,
      errorMessage: outcome.message,
      retryAfterMs: outcome.code === '' ? 0 : retryDelay(round, failuresInARow(round, source)),
    },
    ...failureOf(round, source, source.collector.executorId, outcome.code),
  });
}

function failuresInARow(round: Round, source: SourceRecord): number {
  const failures = round.input.memory.sourceFailures.get(source.id);
  return failures?.lastWindow === source.lastWindow ? failures.count : 0;
}

function retryDelay({ input }: Round, failures: number): number {
  const { sourceRetryBaseMs, sourceRetryCapMs } = input.config;
  return backoff(failures, sourceRetryBaseMs, sourceRetryCapMs);
}

function failureOf(
  round: Round,
  source: SourceRecord,
  executorId: number,
  code: ErrorCode | '',
): Pick<PlannedOperation, 'sourceFailure'> {
  if (code === '') return {};
  const count = failuresInARow(round, source) + 1;
  const failures = { count, executorId, lastWindow: source.lastWindow };
  return { sourceFailure: { sourceId: source.id, failures } };
}

function planSinkFailed(round: Round, outcome: SinkOutcome): void {
  const { memory, config, view } = round.input;
  const sink = view.sinks.get(idKey(outcome.sinkId));
  if (sink === undefined || sink.epoch !== outcome.epoch || sink.reconciled || sink.executorId === 0) {
    round.stale.push(outcome);
    return;
  }
  const count = sink.problem === '' ? 0 : (memory.sinkFailures.get(sink.id)?.count ?? 0);
  round.decidedSinks.add(sink.id);
  round.operations.push({
    cause: 'sink-failed',
    operation: {
      type: 'sink.fail',
      v: 1,
      sinkId: sink.id,
      epoch: outcome.epoch,
      errorCode: outcome.code,
      errorMessage: outcome.message,
      retryAfterMs: backoff(count, config.sourceRetryBaseMs, config.sourceRetryCapMs),
    },
    sinkFailure: { sinkId: sink.id, failures: { count: count + 1, executorId: sink.executorId } },
  });
}

function planSinkDoubted(round: Round, outcome: SinkOutcome): void {
  const sink = round.input.view.sinks.get(idKey(outcome.sinkId));
  const doubtful = DOUBTS.has(outcome.code) || LOSSES.has(outcome.code);
  if (sink?.epoch === outcome.epoch && sink.reconciled && doubtful) round.doubtedSinks.add(sink.id);
  else round.stale.push(outcome);
}

function planGoodbye(round: Round, outcome: Extract<Outcome, { type: 'executor-goodbye' }>): void {
  if (round.input.view.executors.get(idKey(outcome.executorId)) === undefined) return;
  round.operations.push({
    cause: 'executor-left',
    operation: { type: 'executor.expire', v: 1, executorId: outcome.executorId, reason: 'it left' },
  });
}
