/**
 * What a probe of a report database looks for (design 6.12): finished tasks of each report, close together
 * near its newest windows and ever farther apart, back to where tasks have no records; and as many of the
 * newest as there is room for. A database that was restored in place lacks the tasks of a while, and has
 * those after it: as windows go by, each of them comes to lie at every one of these distances.
 */
import { LIMITS, mutated } from '../../base/index.ts';
import {
  isOpenTask,
  spanKey,
  taskRowKey,
  type ReportRecord,
  type SinkRecord,
  type SpanRecord,
  type StateView,
  type TaskRecord,
} from '../../statemachine/index.ts';

/** Tasks in one probe. With very many reports the newest are left out first, then the far ones of each. */
const WITNESSES_MAX = 2_000;
/** Newest spans of a report that are all looked for: those of two probes, if their windows are of 100 ms. */
const NEWEST_SPANS = 64;

/** Finished tasks of all reports of a database, the newest of each report first. */
export function witnessesOf(view: StateView, sink: SinkRecord): TaskRecord[] {
  const ladders = [...view.reports.values()]
    .filter(({ sinkId }) => sinkId === sink.id)
    .map((report) => rungsOf(view, report));
  const longest = Math.max(0, ...ladders.map(({ length }) => length));
  const found: TaskRecord[] = [];
  for (let rung = 0; rung < longest; rung += 1) {
    for (const spans of ladders) {
      const span = spans[rung];
      if (span !== undefined) found.push(...finishedOf(view, span));
      if (found.length >= WITNESSES_MAX) return found.slice(0, WITNESSES_MAX);
    }
  }
  return found;
}

/**
 * Spans at the distances 0, 1, 2, 4... from the newest window that a span has, and from the one up to which
 * all are merged: what lies between the two may wait for a long time.
 */
function rungsOf(view: StateView, report: ReportRecord): SpanRecord[] {
  const spans = new Map<number, SpanRecord>();
  const { nextWindow, mergedWindow, droppedWindow } = report;
  for (let distance = 0; distance < nextWindow; distance = Math.max(1, 2 * distance)) {
    for (const end of [nextWindow - 1, mergedWindow]) {
      const span = end - distance > droppedWindow ? spanAt(view, report, end - distance) : undefined;
      if (span !== undefined) spans.set(span.firstWindow, span);
    }
    if (mutated('coordinator.oldLossNotProbed')) break;
  }
  for (const span of newestMerged(view, report)) spans.set(span.firstWindow, span);
  return [...spans.values()];
}

/**
 * Spans next to each other, back from the window up to which all are merged. Of short windows many go by
 * between two probes, and what is lost would lie between two of the distances for long.
 */
function newestMerged(view: StateView, report: ReportRecord): SpanRecord[] {
  const found: SpanRecord[] = [];
  let window = report.mergedWindow;
  while (found.length < NEWEST_SPANS && window > report.droppedWindow) {
    const span = mutated('coordinator.newestLossNotProbed') ? undefined : spanAt(view, report, window);
    if (span === undefined) break;
    found.push(span);
    window = span.firstWindow - 1;
  }
  return found;
}

/** The span that holds a window; only a report's first one may be wider than the limit. */
function spanAt(view: StateView, report: ReportRecord, window: number): SpanRecord | undefined {
  const { id: reportId, generation, baseWindow } = report;
  const of = (firstWindow: number): SpanRecord | undefined =>
    view.spans.get(spanKey({ reportId, generation, firstWindow }));
  if (window <= baseWindow) return of(1);
  const oldest = Math.max(1, window - LIMITS.spanWindowsMax + 1);
  for (let first = window; first >= oldest; first -= 1) {
    const span = of(first);
    if (span !== undefined) return span;
  }
  return undefined;
}

/** Tasks of a span that are done for good. */
function finishedOf(view: StateView, span: SpanRecord): TaskRecord[] {
  const found: TaskRecord[] = [];
  for (let part = 0; part < span.parts; part += 1) {
    const task = view.tasks.get(taskRowKey({ ...span, part }));
    if (task !== undefined && !isOpenTask(task)) found.push(task);
  }
  return found;
}
