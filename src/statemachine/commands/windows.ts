/**
 * Windows: sealing them, following their tasks to MERGED and FINAL, and dropping the oldest (design 6.4,
 * 6.10).
 */
import { LIMITS, must, mutated } from '../../base/index.ts';
import type { TableView } from '../view.ts';
import { idKey, taskRowKeyOf, taskWindowPrefix, windowKey, windowPrefix } from './keys.ts';
import type { ApplyMeta, OperationResult, SealWindow } from './operations.ts';
import type { ReportRecord, SourceRecord, TaskRecord, WindowRecord } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import { statesWindow } from './states.ts';
import type { StateWriter } from './writer.ts';

/** Dropping is spread out: a long jam that ends must not drop thousands of windows within one operation. */
const DROPPED_PER_OPERATION_MAX = 4;

/**
 * Seals a window. Accepted only under the source's current epoch, with the next number, and from where the
 * last window ended: this chain proves that there is no gap and no overlap.
 */
export function applySealWindow(writer: StateWriter, input: SealWindow, meta: ApplyMeta): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  const sealed = writer.windows.get(windowKey(source.id, input.window));
  if (sealed !== undefined && isSameSeal(sealed, input)) return sealAnswer(sealed);
  const refusal = sealRefusal(writer, source, input);
  if (refusal !== undefined) return refusal;

  let tasksTotal = 0;
  for (const report of reportsOf(writer, source, input.window)) tasksTotal += report.parts;
  const window: WindowRecord = {
    sourceId: source.id,
    window: input.window,
    state: 'SEALED',
    epoch: input.epoch,
    from: input.from,
    to: input.to,
    day: input.day,
    coversMs: input.coversMs,
    topologyVersion: input.topologyVersion,
    schemaVersions: input.schemaVersions,
    shards: input.shards,
    sealedMs: meta.logTimeMs,
    mergedMs: 0,
    tasksOpen: tasksTotal,
    tasksTotal,
    tasksGranted: 0,
    holes: [],
  };
  // What ended the collector before this one is over.
  const { window: lastWindow, to: position } = input;
  writer.sources.put(idKey(source.id), { ...source, lastWindow, position, problem: '' });
  writer.windows.put(windowKey(source.id, input.window), window);
  if (tasksTotal === 0) settleWindow(writer, window, meta);
  return sealAnswer(window);
}

function sealAnswer(window: WindowRecord): OperationResult {
  return accept({ window: window.window, tasks: window.tasksTotal });
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

/** Reports that read a window of a source, in the order of their ids. */
export function* reportsOf(
  view: { readonly reports: TableView<ReportRecord> },
  source: { readonly id: number },
  window: number,
): IterableIterator<ReportRecord> {
  for (const report of view.reports.values()) {
    if (report.sourceId === source.id && report.firstWindow <= window) yield report;
  }
}

/** What became of one task of a window. */
export interface WindowChange {
  readonly task: TaskRecord;
  /** 1: reopened, -1: finished, 0: still open. */
  readonly open: -1 | 0 | 1;
  readonly granted: boolean;
  readonly hole: 'add' | 'remove' | 'keep';
}

/**
 * Follows a task's change in its window: counts, holes, and the window's state. The task's row is written
 * already.
 */
export function followTask(writer: StateWriter, change: WindowChange, meta: ApplyMeta): void {
  const { task } = change;
  const key = windowKey(task.sourceId, task.firstWindow);
  const window = must(writer.windows.get(key), `window of task ${task.key}`);
  const holes = window.holes.filter((hole) => hole !== task.key);
  if (change.hole === 'add' || (change.hole === 'keep' && holes.length < window.holes.length)) {
    holes.push(task.key);
  }
  if (holes.length !== window.holes.length) countHoles(writer, task, holes.length - window.holes.length);
  const next: WindowRecord = {
    ...window,
    state: change.open === 1 ? 'SEALED' : window.state,
    tasksOpen: window.tasksOpen + change.open,
    tasksGranted: window.tasksGranted + (change.granted ? 1 : 0),
    holes,
  };
  // A window that is MERGED comes by again when a dead task of it is skipped: it may be FINAL then.
  const settles = next.tasksOpen === 0 && (change.open === -1 || window.state === 'MERGED');
  if (settles) settleWindow(writer, next, meta);
  else writer.windows.put(key, next);
}

function countHoles(writer: StateWriter, task: TaskRecord, by: number): void {
  const report = writer.reports.get(idKey(task.reportId));
  if (report?.generation !== task.generation) return;
  writer.reports.put(idKey(report.id), { ...report, holes: report.holes + by });
}

/**
 * Makes a window without open tasks MERGED, or FINAL when none of them is DEAD; then drops what is too old.
 */
function settleWindow(writer: StateWriter, window: WindowRecord, meta: ApplyMeta): void {
  const dead = window.holes.some((key) => writer.tasks.get(taskRowKeyOf(key))?.state === 'DEAD');
  writer.windows.put(windowKey(window.sourceId, window.window), {
    ...window,
    state: dead ? 'MERGED' : 'FINAL',
    mergedMs: window.state === 'MERGED' ? window.mergedMs : meta.logTimeMs,
  });
  let source = must(writer.sources.get(idKey(window.sourceId)), 'source of a window');
  let mergedWindow = source.mergedWindow;
  for (;;) {
    const following = writer.windows.get(windowKey(source.id, mergedWindow + 1));
    if (following === undefined || following.state === 'SEALED') break;
    mergedWindow += 1;
  }
  source = { ...source, mergedWindow, windowsFinal: source.windowsFinal + (dead ? 0 : 1) };
  writer.sources.put(idKey(source.id), dropOldWindows(writer, source));
}

/**
 * Whether the oldest window of a source goes, once it is FINAL: when enough newer ones of it are FINAL, or
 * when the finished tasks of all sources together are too many to keep.
 */
export function isTooOld(kept: { readonly windowsFinal: number; readonly tasks: number }): boolean {
  if (kept.windowsFinal <= 1) return false;
  return kept.windowsFinal - 1 > LIMITS.windowsKeptMax || kept.tasks > LIMITS.tasksKeptMax;
}

function dropOldWindows(writer: StateWriter, source: SourceRecord): SourceRecord {
  let { windowsFinal } = source;
  let tasks = writer.tasks.size;
  const old: WindowRecord[] = [];
  for (const window of writer.windows.withPrefix(windowPrefix(source.id))) {
    if (window.state !== 'FINAL' || !isTooOld({ windowsFinal, tasks })) break;
    // Row states are made from it yet.
    if (window.window > (statesWindow(source) ?? window.window)) break;
    if (old.length === DROPPED_PER_OPERATION_MAX) break;
    old.push(window);
    windowsFinal -= 1;
    tasks -= window.tasksTotal;
  }
  for (const window of old) dropWindow(writer, window);
  return { ...source, windowsFinal };
}

function dropWindow(writer: StateWriter, window: WindowRecord): void {
  const keys: string[] = [];
  for (const task of writer.tasks.withPrefix(taskWindowPrefix(window.window))) {
    if (task.sourceId === window.sourceId) keys.push(taskRowKeyOf(task.key));
  }
  for (const key of keys) writer.tasks.delete(key);
  writer.windows.delete(windowKey(window.sourceId, window.window));
}
