/**
 * Folding and dropping (design 6.10): a few grants at a time, in the background. How much is kept behind the
 * newest FINAL window is measured in windows, and less of it when there are many reports: what is kept can be
 * computed again, and found again after a failover of the report database.
 */
import {
  spanPrefix,
  type HousekeepingGrant,
  type ReportRecord,
  type SourceRecord,
  type StateView,
} from '../../statemachine/index.ts';
import { replaced, type Round } from './round.ts';
import type { HousekeepingOutcome } from './types.ts';

/** Grants under way at once, over all reports and sources. */
const AT_ONCE_MAX = 2;
/** Spans in one grant, at most: as many records go in one operation. */
const SPANS_PER_GRANT_MAX = 128;
/** After a grant that came to nothing the next one waits for so long, in milliseconds. */
const RETRY_AFTER_MS = 30_000;

export function planHousekeeping(round: Round): void {
  const { reports, sources } = round.input.view;
  let underWay = 0;
  for (const { fold } of reports.values()) underWay += fold === null ? 0 : 1;
  for (const { drop } of sources.values()) underWay += drop === null ? 0 : 1;
  const { keep, step } = keptOf(round);
  for (const report of reports.values()) {
    if (round.full) return;
    if (report.fold !== null) followFold(round, report, report.fold);
    else if (underWay < AT_ONCE_MAX && grantFold(round, report, { keep, step })) underWay += 1;
  }
  for (const source of sources.values()) {
    if (round.full) return;
    if (source.drop !== null) followDrop(round, source, source.drop);
    else if (underWay < AT_ONCE_MAX && grantDrop(round, source, step)) underWay += 1;
  }
}

interface Kept {
  /** FINAL windows that are not folded yet. */
  readonly keep: number;
  /** Folding begins when there are so many more. */
  readonly step: number;
}

/** What was folded last has records too, so that up to keep + 2 x step windows have, and those under way. */
function keptOf({ input }: Round): Kept {
  let parts = 0;
  for (const report of input.view.reports.values()) parts += report.parts;
  const affordable = Math.floor(input.config.tasksKeptMax / 4 / Math.max(1, parts));
  const keep = Math.max(4, Math.min(input.config.windowsKept, affordable));
  return { keep, step: Math.max(2, Math.floor(keep / 4)) };
}

function grantFold(round: Round, report: ReportRecord, { keep, step }: Kept): boolean {
  const { view, now } = round.input;
  if (report.phase === 'retired') return false;
  const isOver = report.stopped !== null && report.finalWindow >= report.stopped.window - 1;
  if (report.finalWindow - report.folded.window < (isOver ? 1 : keep + step)) return false;
  if (report.foldRetryAtMs > now.logTimeMs || round.readySink(report.sinkId) === undefined) return false;
  // A report that was stopped keeps nothing back: nobody will compute anything of it again.
  const window = spanEndAtOrBefore(view, report, report.finalWindow - (isOver ? 0 : keep));
  return window > report.folded.window && pushFold(round, report, window);
}

/** The last window of the last span that ends at or before `limit`, of a bounded number of spans. */
function spanEndAtOrBefore(view: StateView, report: ReportRecord, limit: number): number {
  let spans = 0;
  let end = report.folded.window;
  for (const span of view.spans.withPrefix(spanPrefix(report.id))) {
    if (span.generation !== report.generation || span.lastWindow <= report.folded.window) continue;
    if (span.lastWindow > limit || spans === SPANS_PER_GRANT_MAX) break;
    end = span.lastWindow;
    spans += 1;
  }
  return end;
}

function pushFold(round: Round, report: ReportRecord, window: number): boolean {
  const { fold } = report;
  const executorId = round.placement.takeForCollector(fold?.executorId);
  if (executorId === undefined) return false;
  const { id: reportId, generation } = report;
  round.operations.push({
    cause: 'fold-granted',
    operation: { type: 'fold.grant', v: 1, reportId, generation, window, executorId },
    ...replaced(fold),
  });
  return true;
}

function followFold(round: Round, report: ReportRecord, fold: HousekeepingGrant): void {
  const sink = [...round.input.view.sinks.values()].find(({ id }) => id === report.sinkId);
  if (isLost(round, fold) || sink?.epoch !== fold.sinkEpoch) {
    if (round.readySink(report.sinkId) !== undefined) pushFold(round, report, fold.window);
  } else if (needsDispatch(round, fold)) {
    round.dispatches.push({ kind: 'fold', executorId: fold.executorId, report });
  }
}

function grantDrop(round: Round, source: SourceRecord, step: number): boolean {
  if (source.horizon - source.droppedWindow < step) return false;
  if (source.dropRetryAtMs > round.input.now.logTimeMs) return false;
  return pushDrop(round, source);
}

function pushDrop(round: Round, source: SourceRecord): boolean {
  const executorId = round.placement.takeForCollector(source.drop?.executorId);
  if (executorId === undefined) return false;
  const operation = { type: 'drop.grant', v: 1, sourceId: source.id, executorId } as const;
  round.operations.push({ cause: 'drop-granted', operation, ...replaced(source.drop) });
  return true;
}

function followDrop(round: Round, source: SourceRecord, drop: HousekeepingGrant): void {
  if (isLost(round, drop)) pushDrop(round, source);
  else if (needsDispatch(round, drop)) {
    round.dispatches.push({ kind: 'drop', executorId: drop.executorId, source });
  }
}

/** Its executor is gone, or it is past its deadline: another one begins again, which is harmless. */
function isLost(round: Round, grant: HousekeepingGrant): boolean {
  const { now, config } = round.input;
  if (!round.judgement.liveness.has(grant.executorId)) return true;
  return now.logTimeMs - grant.grantedMs >= config.housekeepingDeadlineMs;
}

function needsDispatch(round: Round, { executorId, token }: HousekeepingGrant): boolean {
  const held = round.input.executors.get(executorId)?.running.has(token) === true;
  return round.needsDispatch(executorId, token, held) || round.isLost(executorId, token, held);
}

/** Answers false for an outcome under a token that is not current any more. */
export function planHousekeepingOutcome(round: Round, outcome: HousekeepingOutcome): boolean {
  const { view } = round.input;
  const { token, window, code: errorCode, message: errorMessage } = outcome;
  const failure = { errorCode, errorMessage, retryAfterMs: RETRY_AFTER_MS };
  for (const { id: reportId, generation, fold } of view.reports.values()) {
    if (fold?.token !== token) continue;
    const operation = { type: 'fold.finish', v: 1, reportId, generation, token, window, ...failure } as const;
    round.operations.push({ cause: errorCode === '' ? 'folded' : 'housekeeping-failed', operation });
    return true;
  }
  for (const { id: sourceId, drop } of view.sources.values()) {
    if (drop?.token !== token) continue;
    const operation = { type: 'drop.finish', v: 1, sourceId, token, ...failure } as const;
    round.operations.push({ cause: errorCode === '' ? 'dropped' : 'housekeeping-failed', operation });
    return true;
  }
  return false;
}
