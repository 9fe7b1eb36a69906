/**
 * Spans: opening them, and following their tasks to MERGED and FINAL (design 6.7, 6.10). A report's windows
 * are taken in their order, so that two spans of a generation never share a window.
 */
import { LIMITS, must, mutated } from '../../base/index.ts';
import { idKey, spanKey, taskRowKey, windowKey } from './keys.ts';
import { isStopped, settleSource } from './windows.ts';
import type { ApplyMeta, OpenSpan, OperationResult } from './operations.ts';
import type { ReportRecord, SpanRecord, TaskRecord, WindowRecord } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import type { StateWriter } from './writer.ts';

export function applyOpenSpan(writer: StateWriter, input: OpenSpan): OperationResult {
  const report = writer.reports.get(idKey(input.reportId));
  if (report?.generation !== input.generation) {
    return refuse('UNKNOWN_REPORT', `report ${input.reportId}/${input.generation} is not known`);
  }
  const { reportId, generation, firstWindow, lastWindow } = input;
  const opened = writer.spans.get(spanKey(input));
  if (opened?.lastWindow === lastWindow) return accept();
  const refusal = orderRefusal(report, input) ?? windowsRefusal(writer, report, input);
  if (refusal !== undefined) return refusal;
  const { sourceId, parts } = report;
  writer.spans.put(spanKey(input), {
    reportId,
    generation,
    sourceId,
    firstWindow,
    lastWindow,
    parts,
    granted: 0,
    open: parts,
    dead: 0,
  });
  writer.reports.put(idKey(report.id), { ...report, nextWindow: lastWindow + 1 });
  return accept();
}

/** Only windows for which no task of this generation was ever granted: those behind all of its spans. */
function orderRefusal(report: ReportRecord, { firstWindow, lastWindow }: OpenSpan): Refusal | undefined {
  const isNext = firstWindow === report.nextWindow || mutated('state.spanOverGranted');
  if (!isNext || lastWindow < firstWindow) {
    const message = `${firstWindow} to ${lastWindow} is not next, window ${report.nextWindow} is`;
    return refuse('SPAN_REFUSED', `report ${report.name}: ${message}`);
  }
  if (isStopped(report, lastWindow)) {
    return refuse('SPAN_REFUSED', `report ${report.name} was stopped: ${report.stopped?.problem ?? ''}`);
  }
  if (firstWindow <= report.baseWindow && lastWindow !== report.baseWindow) {
    const message = `the first span ends with window ${report.baseWindow}, of which the row states are read`;
    return refuse('SPAN_REFUSED', `report ${report.name}: ${message}`);
  }
  return undefined;
}

function windowsRefusal(writer: StateWriter, report: ReportRecord, input: OpenSpan): Refusal | undefined {
  const { firstWindow, lastWindow } = input;
  const source = writer.sources.get(idKey(report.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `the source of ${report.name} was removed`);
  if (source.holed && !mutated('state.holedReportsGoOn')) {
    return refuse('SPAN_REFUSED', `source ${source.name} is read again since its row states have holes`);
  }
  const fromStates = lastWindow === report.baseWindow;
  if ((fromStates ? lastWindow : firstWindow) <= source.horizon) {
    const message = `windows up to ${source.horizon} of source ${source.name} are dropped`;
    return refuse('HISTORY_DROPPED', `report ${report.name}: ${message}`);
  }
  const count = fromStates ? 1 : lastWindow - firstWindow + 1;
  if (count > LIMITS.spanWindowsMax) {
    return refuse('SPAN_REFUSED', `a span has at most ${LIMITS.spanWindowsMax} windows`);
  }
  const begin = lastWindow - count + 1;
  const first = writer.windows.get(windowKey(source.id, begin));
  for (let window = begin; window <= lastWindow; window++) {
    const sealed = writer.windows.get(windowKey(source.id, window));
    if (first === undefined || sealed === undefined) {
      return refuse('SPAN_REFUSED', `window ${window} of source ${source.name} is not sealed`);
    }
    if (window > begin && !mayJoin(first, sealed) && !mutated('state.spanOfUnlikeWindows')) {
      return refuse('SPAN_REFUSED', `windows ${begin} and ${window} of source ${source.name} are not alike`);
    }
  }
  return undefined;
}

/**
 * Whether a later window may be in one span with `first`: never across a topology version or a captured
 * table's schema version, and no window in which a table is copied. Such a window cannot be captured again,
 * so each stands alone: what is lost with it is a hole of its own size.
 */
export function mayJoin(first: WindowRecord, later: WindowRecord): boolean {
  const isCopying = first.copying || later.copying;
  if (mutated('state.spanOverCopies') ? first.window === 1 : isCopying) return false;
  if (first.topologyVersion !== later.topologyVersion) return false;
  return (
    first.schemaVersions.length === later.schemaVersions.length &&
    first.schemaVersions.every(({ table, version }, at) => {
      const other = later.schemaVersions[at];
      return other?.table === table && other.version === version;
    })
  );
}

/** Writes a task's row, and follows its change in the counts of its span and the marks of its report. */
export function putTask(writer: StateWriter, task: TaskRecord, meta: ApplyMeta): void {
  const before = writer.tasks.get(taskRowKey(task));
  writer.tasks.put(taskRowKey(task), task);
  if (task.hole !== (before?.hole ?? false)) countHole(writer, task);
  const open = openParts(task) - (before === undefined ? 1 : openParts(before));
  const dead = deadParts(task) - (before === undefined ? 0 : deadParts(before));
  if (before !== undefined && open === 0 && dead === 0) return;
  const span = must(writer.spans.get(spanKey(task)), `span of task ${task.key}`);
  const next: SpanRecord = {
    ...span,
    granted: span.granted + (before === undefined ? 1 : 0),
    open: span.open + open,
    dead: span.dead + dead,
  };
  writer.spans.put(spanKey(span), next);
  if (open !== 0 || dead !== 0) moveMarks(writer, next, meta);
}

const openParts = (task: TaskRecord): number => (isOpenTask(task) ? 1 : 0);
const deadParts = (task: TaskRecord): number => (task.state === 'DEAD' ? 1 : 0);

export const isOpenTask = (task: TaskRecord): boolean => task.state === 'ASSIGNED' || task.state === 'PARKED';

function countHole(writer: StateWriter, task: TaskRecord): void {
  const report = writer.reports.get(idKey(task.reportId));
  if (report?.generation !== task.generation) return;
  writer.reports.put(idKey(report.id), { ...report, holes: report.holes + (task.hole ? 1 : -1) });
}

const isMerged = (span: SpanRecord): boolean => span.open === 0;
const isFinal = (span: SpanRecord): boolean => span.open === 0 && span.dead === 0;

/** Marks of a report go up over settled spans, and back when a task of one is tried again. */
function moveMarks(writer: StateWriter, span: SpanRecord, meta: ApplyMeta): void {
  const report = writer.reports.get(idKey(span.reportId));
  if (report?.generation !== span.generation) return;
  const mergedWindow = markAfter(writer, report.mergedWindow, span, isMerged);
  const finalWindow = markAfter(writer, report.finalWindow, span, isFinal);
  if (mergedWindow === report.mergedWindow && finalWindow === report.finalWindow) return;
  writer.reports.put(idKey(report.id), { ...report, mergedWindow, finalWindow });
  if (mergedWindow !== report.mergedWindow) settleSource(writer, report.sourceId, meta);
}

function markAfter(
  writer: StateWriter,
  mark: number,
  span: SpanRecord,
  holds: (span: SpanRecord) => boolean,
): number {
  if (!holds(span)) return Math.min(mark, span.firstWindow - 1);
  let reached = mark;
  let next: SpanRecord | undefined = span;
  while (next?.firstWindow === reached + 1 && holds(next)) {
    reached = next.lastWindow;
    next = writer.spans.get(spanKey({ ...span, firstWindow: reached + 1 }));
  }
  return reached;
}
