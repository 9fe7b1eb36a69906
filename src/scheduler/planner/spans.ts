/**
 * First grants. Each report takes its windows in order, one span at a time; how many windows a span gets is
 * decided when there is room to grant its tasks, so that a report that is behind takes larger steps.
 */
import { LIMITS, mutated } from '../../base/index.ts';
import {
  idKey,
  isPrepared,
  isStopped,
  mayJoin,
  statesWindow,
  taskRowKey,
  windowKey,
  type ReportRecord,
  type SpanRecord,
  type StateView,
  type WindowRecord,
} from '../../statemachine/index.ts';
import type { Round } from './round.ts';
import { statesReach } from './states.ts';

/** Whether sealed windows wait for a first grant. */
export function workWaits(view: StateView): boolean {
  if (view.pendingSpans.size > 0) return true;
  for (const report of view.reports.values()) {
    if (report.nextWindow <= reachOf(view, report)) return true;
  }
  return false;
}

/** The last window that a report may read now: the last sealed one, or the last that is in the row states. */
function reachOf(view: StateView, report: ReportRecord): number {
  const source = view.sources.get(idKey(report.sourceId));
  if (source === undefined) return 0;
  if (!isPrepared(view, report) || report.paused) return 0;
  // The first span of a later generation is computed from the row states as of its end.
  if (report.nextWindow <= report.baseWindow && !statesReach(view, report, report.baseWindow)) return 0;
  const { lastWindow } = source;
  const reach = statesReach(view, report, lastWindow) ? lastWindow : (statesWindow(source) ?? 0);
  return report.stopped === null ? reach : Math.min(reach, report.stopped.window - 1);
}

/**
 * Whether a paused report has left a window waiting for the whole retention: then it becomes a permanent
 * hole, so that the report does not hold the log for ever (design 6.10).
 */
function isForfeit({ input }: Round, report: ReportRecord, window: number): boolean {
  if (!report.paused || mutated('scheduler.pausedHoldsForEver')) return false;
  if (!isPrepared(input.view, report) || isStopped(report, window)) return false;
  const sealed = input.view.windows.get(windowKey(report.sourceId, window));
  return sealed !== undefined && input.now.logTimeMs - sealed.sealedMs >= input.config.holeRetentionMs;
}

/** The last window, within the next span, that a paused report has left waiting for too long. */
function forfeitReach(round: Round, report: ReportRecord): number {
  const { nextWindow, baseWindow } = report;
  if (nextWindow <= baseWindow) return isForfeit(round, report, baseWindow) ? baseWindow : 0;
  let reach = 0;
  for (let window = nextWindow; window < nextWindow + round.input.config.spanWindowsMax; window += 1) {
    if (!isForfeit(round, report, window)) break;
    reach = window;
  }
  return reach;
}

export function planSpans(round: Round): void {
  const room = new Room(round);
  for (const span of round.input.view.pendingSpans.values()) {
    if (room.full()) return;
    const report = round.input.view.reports.get(idKey(span.reportId));
    if (report?.generation !== span.generation || round.readySink(report.sinkId) === undefined) continue;
    // Tables, copies and row states may have been lost since it was opened.
    if (!isPrepared(round.input.view, report)) continue;
    const forfeit = isForfeit(round, report, span.lastWindow);
    if (!forfeit && !statesReach(round.input.view, report, span.lastWindow)) continue;
    grantParts(room, span);
  }
  let turn = reportsBehind(round);
  while (turn.length > 0 && !room.full()) {
    for (const behind of turn) {
      if (room.full()) return;
      openNext(round, room, behind);
    }
    turn = turn.filter(({ next, reach }) => next <= reach);
  }
}

/** What may still be granted in this round. */
class Room {
  readonly round: Round;
  #tasks: number;

  constructor(round: Round) {
    const { config, view } = round.input;
    this.round = round;
    this.#tasks = Math.min(round.placement.freeTasks(), config.tasksOpenMax - view.openTasks.size);
  }

  full(): boolean {
    return this.#tasks <= 0 || this.round.full;
  }

  take(): number | undefined {
    if (this.full()) return undefined;
    this.#tasks -= 1;
    return this.round.placement.takeForTask();
  }
}

interface Behind {
  readonly report: ReportRecord;
  next: number;
  /** The last window that it may read now. */
  readonly reach: number;
}

/**
 * Reports with windows that no span covers yet. First those with the fewest tasks under way, so that one
 * with slow SQL does not take every slot; of these, those whose next window waits longest.
 */
function reportsBehind(round: Round): Behind[] {
  const { view } = round.input;
  const running = new Map<number, number>();
  for (const { reportId } of view.openTasks.values()) running.set(reportId, (running.get(reportId) ?? 0) + 1);
  const found: { behind: Behind; running: number; sinceMs: number }[] = [];
  for (const report of view.reports.values()) {
    const reach = report.paused ? forfeitReach(round, report) : reachOf(view, report);
    if (report.nextWindow > reach || round.readySink(report.sinkId) === undefined) continue;
    found.push({
      behind: { report, reach, next: report.nextWindow },
      running: running.get(report.id) ?? 0,
      sinceMs: view.windows.get(windowKey(report.sourceId, report.nextWindow))?.sealedMs ?? 0,
    });
  }
  found.sort(
    (one, other) =>
      one.running - other.running ||
      one.sinceMs - other.sinceMs ||
      one.behind.report.id - other.behind.report.id,
  );
  return found.map(({ behind }) => behind);
}

function openNext(round: Round, room: Room, behind: Behind): void {
  const { report, next } = behind;
  const { id: reportId, generation, parts } = report;
  const lastWindow = next <= report.baseWindow ? report.baseWindow : lastOfSpan(round, behind);
  behind.next = lastWindow + 1;
  const windows = { reportId, generation, firstWindow: next, lastWindow };
  round.operations.push({ cause: 'span-opened', operation: { type: 'span.open', v: 1, ...windows } });
  grantParts(room, { ...windows, parts });
}

/**
 * One window when the report keeps up; else the largest power of two of the windows that wait, as far as they
 * are alike and their rows are not too many.
 */
function lastOfSpan({ input }: Round, { report, next, reach }: Behind): number {
  const { view, config } = input;
  const waiting = reach - next + 1;
  const wanted = Math.min(config.spanWindowsMax, 2 ** Math.floor(Math.log2(waiting)));
  const first = view.windows.get(windowKey(report.sourceId, next));
  if (first === undefined) return next;
  let rows = rowsOf(first);
  let last = next;
  while (last - next + 1 < wanted) {
    const window = view.windows.get(windowKey(report.sourceId, last + 1));
    if (window === undefined || !mayJoin(first, window)) break;
    rows += rowsOf(window);
    if (rows > LIMITS.spanRowsMax) break;
    last += 1;
  }
  return last;
}

const rowsOf = (window: WindowRecord): number => window.shards.reduce((sum, { rows }) => sum + rows, 0);

type NewSpan = Pick<SpanRecord, 'reportId' | 'generation' | 'firstWindow' | 'lastWindow' | 'parts'>;

function grantParts(room: Room, span: NewSpan): void {
  const { reportId, generation, firstWindow, lastWindow } = span;
  const report = room.round.input.view.reports.get(idKey(reportId));
  const forfeit = report !== undefined && isForfeit(room.round, report, lastWindow);
  for (let part = 0; part < span.parts; part++) {
    const identity = { reportId, generation, firstWindow, part };
    if (room.round.input.view.tasks.get(taskRowKey(identity)) !== undefined) continue;
    const executorId = room.take();
    if (executorId === undefined) return;
    room.round.operations.push({
      cause: 'first-grant',
      operation: {
        type: 'task.grant',
        v: 1,
        ...identity,
        lastWindow,
        version: 1,
        executorId,
        purpose: forfeit ? 'SKIPPED' : 'merge',
        reason: forfeit ? 'paused for longer than the retention' : '',
        failedAttempt: false,
      },
    });
  }
}
