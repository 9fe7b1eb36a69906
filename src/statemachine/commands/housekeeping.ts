/**
 * Work that no window waits for (design 6.10): folding reports, and dropping what nobody reads any more. What
 * is dropped here first, records of spans, then windows, is what the store may drop next: the horizon.
 */
import { mutated } from '../../base/index.ts';
import { nextToken, supersede } from './counters.ts';
import { idKey, spanKey, spanPrefix, taskRowKey, windowKey } from './keys.ts';
import type {
  ApplyMeta,
  FinishDrop,
  FinishFold,
  GrantDrop,
  GrantFold,
  OperationResult,
} from './operations.ts';
import type { ReportRecord, SourceRecord } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import { isReconciled, notReconciled } from './sinks.ts';
import { raiseHorizon } from './windows.ts';
import type { StateWriter } from './writer.ts';

/** Grants folding a report's spans up to a window, the last one of a FINAL span. */
export function applyGrantFold(writer: StateWriter, input: GrantFold, meta: ApplyMeta): OperationResult {
  const report = writer.reports.get(idKey(input.reportId));
  if (report?.generation !== input.generation) {
    return refuse('UNKNOWN_REPORT', `report ${input.reportId}/${input.generation} is not known`);
  }
  const sink = writer.sinks.get(idKey(report.sinkId));
  if (!isReconciled(sink)) return notReconciled(report.name);
  if (writer.executors.get(idKey(input.executorId)) === undefined) return unknownExecutor(input);
  const isNext = input.window > report.folded.window && input.window <= report.finalWindow;
  if (!isNext && !mutated('state.foldBeforeFinal')) {
    const range = `${report.folded.window} to ${report.finalWindow}`;
    return refuse('SPAN_REFUSED', `report ${report.name}: windows of ${range} may be folded`);
  }
  const token = nextToken(writer, meta);
  const granted = { token, executorId: input.executorId, window: input.window, grantedMs: meta.logTimeMs };
  const fold = { ...granted, sinkEpoch: sink.epoch, superseded: supersede(report.fold) };
  writer.reports.put(idKey(report.id), { ...report, fold });
  return accept({ token });
}

/**
 * Ends a fold: with the fold mark, or with a code. What the fold before it had taken in has no records from
 * now on: a report database that lost its last commits still finds those of this one.
 */
export function applyFinishFold(writer: StateWriter, input: FinishFold, meta: ApplyMeta): OperationResult {
  const report = writer.reports.get(idKey(input.reportId));
  if (report?.generation !== input.generation) {
    return refuse('UNKNOWN_REPORT', `report ${input.reportId}/${input.generation} is not known`);
  }
  if (report.fold?.token !== input.token) {
    return refuse('STALE_EPOCH', `report ${report.name} has another fold grant`);
  }
  const sink = writer.sinks.get(idKey(report.sinkId));
  if (!isReconciled(sink) || sink.epoch !== report.fold.sinkEpoch) {
    return refuse('SINK_EPOCH', `report ${report.name} was folded under another epoch of its database`);
  }
  const end = writer.windows.get(windowKey(report.sourceId, input.window));
  if (input.errorCode !== '' || input.window <= report.folded.window || end === undefined) {
    // Also one that found nothing to do is not granted again at once.
    const waits = input.errorCode !== '' || !mutated('state.idleFoldAgainAtOnce');
    const foldRetryAtMs = waits ? meta.logTimeMs + input.retryAfterMs : 0;
    writer.reports.put(idKey(report.id), { ...report, fold: null, foldRetryAtMs });
    return accept({ window: report.folded.window });
  }
  const folded = { window: input.window, seal: end.epoch };
  const droppedWindow = report.folded.window;
  writer.reports.put(idKey(report.id), { ...report, fold: null, foldRetryAtMs: 0, folded, droppedWindow });
  dropSpans(writer, report, droppedWindow);
  raiseHorizon(writer, report.sourceId);
  return accept({ window: input.window });
}

function dropSpans(writer: StateWriter, report: ReportRecord, upTo: number): void {
  const old = [];
  for (const span of writer.spans.withPrefix(spanPrefix(report.id))) {
    if (span.generation !== report.generation) continue;
    if (span.lastWindow > upTo) break;
    old.push(span);
  }
  for (const span of old) {
    for (let part = 0; part < span.parts; part++) writer.tasks.delete(taskRowKey({ ...span, part }));
    writer.spans.delete(spanKey(span));
  }
}

/** Grants dropping what the store holds up to the horizon, which is committed by then. */
export function applyGrantDrop(writer: StateWriter, input: GrantDrop, meta: ApplyMeta): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  if (writer.executors.get(idKey(input.executorId)) === undefined) return unknownExecutor(input);
  const token = nextToken(writer, meta);
  const window = mutated('state.dropAboveHorizon') ? source.lastWindow : source.horizon;
  const granted = { token, executorId: input.executorId, window, grantedMs: meta.logTimeMs };
  const drop = { ...granted, sinkEpoch: '', superseded: supersede(source.drop) };
  writer.sources.put(idKey(source.id), { ...source, drop });
  return accept({ token });
}

export function applyFinishDrop(writer: StateWriter, input: FinishDrop, meta: ApplyMeta): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  if (source.drop?.token !== input.token) {
    return refuse('STALE_EPOCH', `source ${source.name} has another grant for dropping`);
  }
  const next: SourceRecord =
    input.errorCode === ''
      ? { ...source, drop: null, droppedWindow: source.drop.window, dropRetryAtMs: 0 }
      : { ...source, drop: null, dropRetryAtMs: meta.logTimeMs + input.retryAfterMs };
  writer.sources.put(idKey(source.id), next);
  return accept();
}

function unknownExecutor({ executorId }: { readonly executorId: number }): Refusal {
  return refuse('UNKNOWN_EXECUTOR', `executor ${executorId} is not known`);
}
