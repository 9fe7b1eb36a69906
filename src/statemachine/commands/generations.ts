/**
 * Report generations that come and go while their source is captured: each has tables made, is computed from
 * the row states and the windows behind them, is shown when it has caught up with the one that it replaces,
 * and is dropped when it is not wanted any more. Each of these steps in the report database is a grant.
 */
import { must, mutated } from '../../base/index.ts';
import { settleCopies } from './copies.ts';
import { nextToken, supersede } from './counters.ts';
import { idKey, spanKey, spanPrefix, taskRowKey } from './keys.ts';
import type { ApplyMeta, FinishReport, GrantReport, OperationResult } from './operations.ts';
import type { ReportRecord } from './records.ts';
import { accept, refuse } from './result.ts';
import { isReconciled, notReconciled } from './sinks.ts';
import { raiseHorizon, settleSource } from './windows.ts';
import type { StateView } from '../view.ts';
import type { StateWriter } from './writer.ts';

/**
 * Whether a generation has caught up with the one that it replaces: all that is seen in the old one is in the
 * new one, without a hole.
 */
export function hasCaughtUp({ reports }: Pick<StateView, 'reports'>, report: ReportRecord): boolean {
  const old = reports.get(idKey(report.replaces));
  if (old === undefined || mutated('state.shownBeforeCaughtUp')) return true;
  return report.holes === 0 && report.finalWindow >= old.mergedWindow;
}

/** Grants the step that leads out of a report's phase, under a new token. */
export function applyGrantReport(writer: StateWriter, input: GrantReport, meta: ApplyMeta): OperationResult {
  const report = writer.reports.get(idKey(input.reportId));
  if (report?.generation !== input.generation) {
    return refuse('UNKNOWN_REPORT', `report ${input.reportId}/${input.generation} is not known`);
  }
  if (writer.executors.get(idKey(input.executorId)) === undefined) {
    return refuse('UNKNOWN_EXECUTOR', `executor ${input.executorId} is not known`);
  }
  const sink = writer.sinks.get(idKey(report.sinkId));
  if (!isReconciled(sink)) return notReconciled(report.name);
  if (report.phase === 'live' && !report.copiesLost)
    return refuse('TASK_FINISHED', `report ${report.name} is shown already`);
  if (report.phase === 'building' && !report.copiesLost && !hasCaughtUp(writer, report)) {
    return refuse('BAD_REQUEST', `report ${report.name} has not caught up with what it replaces`);
  }
  const token = nextToken(writer, meta);
  const granted = { token, executorId: input.executorId, grantedMs: meta.logTimeMs, sinkEpoch: sink.epoch };
  const change = { ...granted, superseded: supersede(report.change) };
  writer.reports.put(idKey(report.id), { ...report, change });
  return accept({ token });
}

/** Ends such a step under its token alone: the report is in its next phase, or the step is due again. */
export function applyFinishReport(
  writer: StateWriter,
  input: FinishReport,
  meta: ApplyMeta,
): OperationResult {
  const report = writer.reports.get(idKey(input.reportId));
  if (report?.generation !== input.generation) {
    return refuse('UNKNOWN_REPORT', `report ${input.reportId}/${input.generation} is not known`);
  }
  const { change } = report;
  if (change?.token !== input.token) {
    return refuse('STALE_EPOCH', `report ${report.name} has another grant`);
  }
  const sink = writer.sinks.get(idKey(report.sinkId));
  if (!isReconciled(sink) || sink.epoch !== change.sinkEpoch) {
    return refuse('SINK_EPOCH', `report ${report.name} was granted under another epoch of its database`);
  }
  const failed = input.errorCode !== '';
  const ended: ReportRecord = {
    ...report,
    change: null,
    changeRetryAtMs: failed ? meta.logTimeMs + input.retryAfterMs : 0,
    changeProblem: failed ? `${input.errorCode}: ${input.errorMessage}` : '',
  };
  if (failed) writer.reports.put(idKey(report.id), ended);
  else goOn(writer, ended, input, meta);
  return accept();
}

function goOn(writer: StateWriter, report: ReportRecord, input: FinishReport, meta: ApplyMeta): void {
  const key = idKey(report.id);
  if (report.phase === 'new' || (report.copiesLost && report.phase !== 'retired')) {
    // What replaces nothing is shown from its first window on.
    const made = report.replaces === 0 ? ('live' as const) : ('building' as const);
    const phase = report.phase === 'new' ? made : report.phase;
    if (settleCopies(writer, report, input.token, input.copies)) {
      writer.reports.put(key, { ...must(writer.reports.get(key), 'the report'), phase });
    }
    return;
  }
  switch (report.phase) {
    case 'building': {
      writer.reports.put(key, { ...report, phase: 'live', replaces: 0 });
      const old = writer.reports.get(idKey(report.replaces));
      if (old !== undefined) retire(writer, old);
      break;
    }
    case 'retired':
      writer.reports.delete(key);
      break;
    case 'live':
      return;
  }
  // It may have been removed before the last of its reports was dropped.
  if (writer.sources.get(idKey(report.sourceId)) === undefined) return;
  settleSource(writer, report.sourceId, meta);
  raiseHorizon(writer, report.sourceId);
}

/** Ends a generation: nothing of it is computed any more, and nothing waits for it. Its tables go next. */
export function retire(writer: StateWriter, report: ReportRecord): void {
  forgetSpans(writer, report);
  writer.reports.put(idKey(report.id), {
    ...report,
    phase: 'retired',
    change: null,
    changeRetryAtMs: 0,
    changeProblem: '',
    fold: null,
    copiesLost: false,
    holes: 0,
    nextWindow: 1,
    mergedWindow: 0,
    finalWindow: 0,
    droppedWindow: 0,
  });
}

function forgetSpans(writer: StateWriter, report: ReportRecord): void {
  for (const span of [...writer.spans.withPrefix(spanPrefix(report.id))]) {
    for (let part = 0; part < span.parts; part++) writer.tasks.delete(taskRowKey({ ...span, part }));
    writer.spans.delete(spanKey(span));
  }
}

/** The generation that was declared last under a name; those on their way out do not count. */
export function newestNamed({ reports }: Pick<StateView, 'reports'>, name: string): ReportRecord | undefined {
  let newest: ReportRecord | undefined;
  for (const report of reports.values()) if (report.name === name && !isRetired(report)) newest = report;
  return newest;
}

export const isRetired = ({ phase }: ReportRecord): boolean => phase === 'retired';
