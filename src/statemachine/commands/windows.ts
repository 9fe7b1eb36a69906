/** Windows: sealing them, up to where they are merged, and dropping the oldest (design 6.4, 6.10). */
import { LIMITS, must, mutated } from '../../base/index.ts';
import type { TableView } from '../view.ts';
import { idKey, windowKey, windowPrefix } from './keys.ts';
import type { ApplyMeta, OperationResult, SealWindow } from './operations.ts';
import type { ReportRecord, SourceRecord, WindowRecord } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import { statesWindow } from './states.ts';
import type { StateWriter } from './writer.ts';

/** Dropping is spread out: after a long jam no operation drops thousands of windows. */
const DROPPED_PER_OPERATION_MAX = 16;

/** Also of a source that nobody reads: a collector may ask for its last seal again. */
const NEWEST_KEPT = 4;

/**
 * Seals a window. Accepted only under the source's current epoch, with the next number, and from where the
 * last window ended: this chain proves that there is no gap and no overlap.
 */
export function applySealWindow(writer: StateWriter, input: SealWindow, meta: ApplyMeta): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  const sealed = writer.windows.get(windowKey(source.id, input.window));
  if (sealed !== undefined && isSameSeal(sealed, input)) return accept({ window: input.window });
  const refusal = sealRefusal(writer, source, input);
  if (refusal !== undefined) return refusal;

  const window: WindowRecord = {
    sourceId: source.id,
    window: input.window,
    epoch: input.epoch,
    from: input.from,
    to: input.to,
    copying: source.lastWindow === 0 || source.resnapshot || source.cursor !== '' || input.cursor !== '',
    day: input.day,
    coversMs: input.coversMs,
    topologyVersion: input.topologyVersion,
    schemaVersions: input.schemaVersions,
    shards: input.shards,
    sealedMs: meta.logTimeMs,
    mergedMs: 0,
  };
  // What ended the collector before this one is over.
  const { window: lastWindow, to: position, cursor } = input;
  const resnapshot = source.resnapshot && cursor !== '';
  writer.sources.put(idKey(source.id), {
    ...source,
    lastWindow,
    position,
    cursor,
    resnapshot,
    holed: source.holed && resnapshot,
    formerTables: cursor === '' ? 0 : source.formerTables,
    problem: '',
  });
  writer.windows.put(windowKey(source.id, input.window), window);
  if (source.holed) beginBehind(writer, source.id, input.window);
  settleSource(writer, source.id, meta);
  raiseHorizon(writer, source.id);
  return accept({ window: input.window });
}

/** Reports of a source that is read again because of holes have done nothing yet, and begin behind it. */
function beginBehind(writer: StateWriter, sourceId: number, baseWindow: number): void {
  if (mutated('state.holedReportsBeginAtOnce')) return;
  for (const report of [...reportsOf(writer, sourceId)]) {
    writer.reports.put(idKey(report.id), { ...report, baseWindow });
  }
}

function isSameSeal(sealed: WindowRecord, input: SealWindow): boolean {
  return sealed.epoch === input.epoch && sealed.from === input.from && sealed.to === input.to;
}

function sealRefusal(writer: StateWriter, source: SourceRecord, input: SealWindow): Refusal | undefined {
  if (source.collector?.epoch !== input.epoch && !mutated('state.sealOfDeposedEpoch')) {
    return refuse('STALE_EPOCH', `epoch ${input.epoch} is not the current one of source ${source.name}`);
  }
  const follows = input.window === source.lastWindow + 1 && input.from === source.position;
  if (!follows && !mutated('state.sealWithoutChain')) {
    const message = `window ${input.window} from '${input.from}' does not follow window ${source.lastWindow}`;
    return refuse('WINDOW_GAP', `${message}, which ended at '${source.position}'`);
  }
  if (input.to === '') return refuse('BAD_REQUEST', 'a window ends at a position');
  if (!isPlacedNow(writer, input.topologyVersion)) {
    return refuse('BAD_REQUEST', `topology version ${input.topologyVersion} is not the current one`);
  }
  const reached = Math.min(source.mergedWindow, statesWindow(source) ?? source.mergedWindow);
  if (source.lastWindow - reached >= LIMITS.windowsUnmergedMax) {
    return refuse('OVERLOADED', `${LIMITS.windowsUnmergedMax} windows of source ${source.name} wait already`);
  }
  return undefined;
}

/** Whether rows written under a topology version lie where the current one says; replicas do not matter. */
function isPlacedNow({ topology }: StateWriter, version: number): boolean {
  return topology !== undefined && topology.placedVersion <= version && version <= topology.version;
}

/** Reports of a source, in the order of their ids; those that are about to be dropped wait for nothing. */
export function* reportsOf(
  view: { readonly reports: TableView<ReportRecord> },
  sourceId: number,
): IterableIterator<ReportRecord> {
  for (const report of view.reports.values()) {
    if (report.sourceId === sourceId && report.phase !== 'retired') yield report;
  }
}

/** Whether a report was stopped before this window: it has no task of it, and nothing waits for one. */
export function isStopped(report: ReportRecord, window: number): boolean {
  if (mutated('state.stoppedReportReads')) return false;
  return report.stopped !== null && report.stopped.window <= window;
}

/** A mark of a report as far as others wait for it: nobody does once it was stopped behind that mark. */
function heldAt(report: ReportRecord, mark: number): number {
  const reached = Math.max(mark, report.baseWindow);
  return isStopped(report, reached + 1) ? Number.MAX_SAFE_INTEGER : reached;
}

/** Up to where the windows of a source are MERGED, and up to where they are FINAL, for all its reports. */
export function marksOf(
  view: { readonly reports: TableView<ReportRecord> },
  source: SourceRecord,
): { readonly merged: number; readonly final: number } {
  let final = source.lastWindow;
  for (const report of reportsOf(view, source.id)) {
    final = Math.min(final, heldAt(report, report.finalWindow));
  }
  return { merged: source.mergedWindow, final };
}

/**
 * Brings a source's mergedWindow to the least of its reports: a window is as far as the report that is least
 * far. What lies before a report's base it never reads.
 */
export function settleSource(writer: StateWriter, sourceId: number, meta: ApplyMeta): void {
  const source = must(writer.sources.get(idKey(sourceId)), 'source of a report');
  let mergedWindow = source.lastWindow;
  for (const report of reportsOf(writer, sourceId)) {
    mergedWindow = Math.min(mergedWindow, heldAt(report, report.mergedWindow));
  }
  if (mergedWindow === source.mergedWindow) return;
  for (let number = source.mergedWindow + 1; number <= mergedWindow; number++) {
    const window = writer.windows.get(windowKey(sourceId, number));
    if (window === undefined || window.mergedMs > 0) continue;
    writer.windows.put(windowKey(sourceId, number), { ...window, mergedMs: meta.logTimeMs });
  }
  writer.sources.put(idKey(sourceId), { ...source, mergedWindow });
}

/**
 * Raises the horizon of a source: below it no generation has a span with a record, which could be computed
 * again, and no row state is yet to be made; what a base is computed from is kept until it was. Then drops
 * windows up to it.
 */
export function raiseHorizon(writer: StateWriter, sourceId: number): void {
  const source = must(writer.sources.get(idKey(sourceId)), 'source of a window');
  // A shard may fail over to a replica whose row states are behind: what it needs is kept for a while.
  const reserve = mutated('state.noStatesReserve') ? 0 : LIMITS.statesReserveWindows;
  const reached = statesWindow(source);
  const below = reached === undefined ? source.lastWindow : reached - reserve;
  let horizon = Math.min(source.lastWindow - NEWEST_KEPT, below);
  for (const report of reportsOf(writer, sourceId)) {
    // One that was stopped, and is folded up to there, reads nothing any more.
    if (isStopped(report, report.folded.window + 1)) continue;
    horizon = Math.min(horizon, Math.max(report.droppedWindow, report.baseWindow - 1));
  }
  if (horizon > source.horizon) {
    // Whether windows that nobody reads any more can be read is no question any more.
    const lost = source.lost.filter(({ window }) => window > horizon);
    writer.sources.put(idKey(sourceId), { ...source, horizon, lost });
  }
  dropWindows(writer, sourceId);
}

/** Drops windows up to the source's horizon, the oldest first. */
function dropWindows(writer: StateWriter, sourceId: number): void {
  const source = must(writer.sources.get(idKey(sourceId)), 'source of a window');
  // Row states are made from those behind their mark yet.
  const upTo = Math.min(source.horizon, statesWindow(source) ?? source.horizon);
  const old: string[] = [];
  for (const { window } of writer.windows.withPrefix(windowPrefix(sourceId))) {
    if (window > upTo || old.length === DROPPED_PER_OPERATION_MAX) break;
    old.push(windowKey(sourceId, window));
  }
  for (const key of old) writer.windows.delete(key);
}
