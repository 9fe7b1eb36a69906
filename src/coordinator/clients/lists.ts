/** The lists that people read, made from one view of the replicated state. Every list has a bound. */
import { DECLARE_AGAIN, LIMITS, TidemarkError, parseToken } from '../../base/index.ts';
import type { CompiledReport, CompiledSource } from '../../job/index.ts';
import type { ExecutorObservation } from '../../scheduler/index.ts';
import {
  haveHoles,
  idKey,
  isStuck,
  marksOf,
  mayResnapshot,
  reportsOf,
  spanPrefix,
  windowKey,
} from '../../statemachine/index.ts';
import type {
  ReportRecord,
  SourceRecord,
  SpanRecord,
  StateView,
  WindowRecord,
} from '../../statemachine/index.ts';
import type {
  ExecutorInfo,
  ListWindowsRequest,
  ReportInfo,
  SourceInfo,
  WindowInfo,
} from '../../wire/index.ts';

/** A re-snapshot takes tables as they are, but cannot do without one, nor with another key. */
const MAKE_CAPTURABLE =
  'Give the source its captured tables, with the keys that they had: it is tried again by itself. Or:';
const WINDOWS_SHOWN = 20;
const SHOWN_MAX = 10_000;

export function listSources(view: StateView): SourceInfo[] {
  return [...view.sources.values()].map((source) => ({
    sourceId: BigInt(source.id),
    name: source.name,
    state: sourceState(source, problemOf(view, source)),
    lastWindow: BigInt(source.lastWindow),
    mergedWindow: BigInt(source.mergedWindow),
    position: source.position,
    collectorExecutorId: BigInt(source.collector?.executorId ?? 0),
    collectorEpoch: source.collector === null ? 0n : parseToken(source.collector.epoch),
    coversMs: BigInt(view.windows.get(windowKey(source.id, source.lastWindow))?.coversMs ?? 0),
    problem: problemOf(view, source),
    next: nextStep(source),
    tables: (JSON.parse(source.spec) as CompiledSource).tables.map(({ table, schemaVersion }) => ({
      table,
      schemaVersion,
    })),
    states: (source.states ?? []).map(({ shard, window, grant, problem }) => ({
      shard,
      window: BigInt(window),
      executorId: BigInt(grant?.executorId ?? 0),
      problem,
    })),
  }));
}

/** What keeps a source from going on: its own problem, its report database's, its row states', a window's. */
function problemOf(view: StateView, source: SourceRecord): string {
  if (source.problem !== '') return source.problem;
  const sink = view.sinks.get(idKey(source.sinkId));
  if (sink !== undefined && sink.problem !== '') return sink.problem;
  const lost = source.lost.find(({ problem }) => problem !== '')?.problem ?? '';
  return statesProblem(source) || lost || additionProblem(source);
}

/** What keeps tables from being added; the source goes on without them. */
function additionProblem({ addition }: SourceRecord): string {
  if (addition === null || addition.problem === '') return '';
  return `tables cannot be added: ${addition.problem}`;
}

/** The problem of the shard whose row states are furthest behind. */
function statesProblem(source: SourceRecord): string {
  const troubled = (source.states ?? []).filter(({ problem }) => problem !== '');
  const [worst] = troubled.sort((one, other) => one.window - other.window);
  return worst === undefined ? '' : `row states of ${worst.shard}: ${worst.problem}`;
}

function nextStep(source: SourceRecord): string {
  if (mayResnapshot(source) && !isEmbedded(source)) return `tidemark source resnapshot ${source.name} --yes`;
  if (source.resnapshot && isStuck(source)) return `${MAKE_CAPTURABLE} ${DECLARE_AGAIN}`;
  return source.lostPosition === null && !isStuck(source) && !haveHoles(source) ? '' : DECLARE_AGAIN;
}

/** Its log does not tell where a transaction ends, so that it cannot be read again within its chain. */
const isEmbedded = ({ spec }: SourceRecord): boolean =>
  (JSON.parse(spec) as CompiledSource).engine === 'embedded';

function sourceState(source: SourceRecord, problem: string): string {
  if (source.prepare?.done !== true) return problem === '' ? 'preparing' : 'failed';
  if (source.lostPosition !== null) return 'lost';
  if (isStuck(source) || haveHoles(source)) return 'stuck';
  if (source.resnapshot) return 'resnapshot';
  if (source.collector === null) return problem === '' ? 'waiting' : 'failed';
  if (source.lastWindow === 0 || source.cursor !== '') return 'snapshot';
  return source.addition === null ? 'running' : 'adding';
}

function reportState(report: ReportRecord): string {
  const { phase, baseWindow } = report;
  if (phase === 'retired') return 'dropping';
  if (report.paused) return 'paused';
  if (report.stopped !== null && report.mergedWindow >= report.stopped.window - 1) return 'stopped';
  if (phase === 'new') return 'preparing';
  if (report.mergedWindow < baseWindow) return `building 1..${baseWindow}`;
  return phase === 'building' ? 'catching up' : 'live';
}

function classOf({ spec }: ReportRecord): string {
  const { affectedKeys } = JSON.parse(spec) as CompiledReport;
  return affectedKeys === undefined ? 'contribution' : 'affectedKeys';
}

export function listReports(view: StateView): ReportInfo[] {
  return [...view.reports.values()].map((report) => {
    const source = view.sources.get(idKey(report.sourceId));
    return {
      reportId: BigInt(report.id),
      name: report.name,
      generation: BigInt(report.generation),
      sourceId: BigInt(report.sourceId),
      source: source?.name ?? '',
      class: classOf(report),
      view: report.name,
      mergedWindow: BigInt(report.mergedWindow),
      holes: BigInt(report.holes),
      problem: report.stopped?.problem ?? report.changeProblem,
      state: reportState(report),
    };
  });
}

/** @throws TidemarkError `UNKNOWN_SOURCE`. */
export function listWindows(view: StateView, request: ListWindowsRequest): WindowInfo[] {
  const limit = bounded(request.limit, WINDOWS_SHOWN);
  const sources = [...view.sources.values()].filter(
    ({ name }) => request.source === '' || name === request.source,
  );
  if (sources.length === 0 && request.source !== '') {
    throw new TidemarkError('UNKNOWN_SOURCE', `there is no source ${request.source}`, {
      next: 'List the sources with: tidemark source list',
    });
  }
  return sources
    .flatMap((source) => newestWindows(view, source, limit))
    .sort((one, other) => other.record.sealedMs - one.record.sealedMs)
    .slice(0, limit)
    .map(({ source, record }) => windowInfo(view, source, record));
}

interface SourceWindow {
  readonly source: SourceRecord;
  readonly record: WindowRecord;
}

function newestWindows(view: StateView, source: SourceRecord, limit: number): SourceWindow[] {
  const found: SourceWindow[] = [];
  for (let window = source.lastWindow; window > 0 && found.length < limit; window -= 1) {
    const record = view.windows.get(windowKey(source.id, window));
    // Windows are dropped in order, so that there is none below the first that is missing.
    if (record === undefined) break;
    found.push({ source, record });
  }
  return found;
}

function windowInfo(view: StateView, source: SourceRecord, record: WindowRecord): WindowInfo {
  const { merged, final } = marksOf(view, source);
  const { window } = record;
  return {
    sourceId: BigInt(source.id),
    source: source.name,
    window: BigInt(record.window),
    state: window <= final ? 'FINAL' : window <= merged ? 'MERGED' : 'SEALED',
    rows: BigInt(record.shards.reduce((sum, shard) => sum + shard.rows, 0)),
    epoch: parseToken(record.epoch),
    from: record.from,
    to: record.to,
    sealedMs: BigInt(record.sealedMs),
    mergedMs: BigInt(record.mergedMs),
    ...tasksOf(view, source, window),
  };
}

/** Tasks of a window: parts of the spans that cover it, or will. */
function tasksOf(
  view: StateView,
  source: SourceRecord,
  window: number,
): Pick<WindowInfo, 'tasks' | 'tasksDone' | 'holes'> {
  let tasks = 0;
  let tasksDone = 0;
  for (const report of reportsOf(view, source.id)) {
    if (window <= report.baseWindow) continue;
    tasks += report.parts;
    if (window <= report.mergedWindow) tasksDone += report.parts;
    else if (window < report.nextWindow)
      tasksDone += report.parts - (openSpanAt(view, report, window)?.open ?? 0);
  }
  let holes = 0;
  for (const task of view.holeTasks.values()) {
    if (task.sourceId === source.id && task.firstWindow <= window && window <= task.lastWindow) holes += 1;
  }
  return { tasks, tasksDone, holes };
}

function openSpanAt(view: StateView, report: ReportRecord, window: number): SpanRecord | undefined {
  for (const span of view.openSpans.withPrefix(spanPrefix(report.id))) {
    if (span.generation === report.generation && span.firstWindow <= window && window <= span.lastWindow)
      return span;
  }
  return undefined;
}

export function listExecutors(
  view: StateView,
  observed: ReadonlyMap<number, ExecutorObservation>,
  nowMs: number,
): ExecutorInfo[] {
  return [...view.executors.values()].map((executor) => {
    const observation = observed.get(executor.id);
    const ageMs = observation === undefined ? 0 : Math.max(0, nowMs - observation.lastHeartbeatMs);
    const collects = [...view.sources.values()].filter(
      ({ collector }) => collector?.executorId === executor.id,
    );
    return {
      executorId: BigInt(executor.id),
      name: executor.name,
      state: executorState(observation, ageMs),
      slots: executor.slots,
      running: observation?.running.size ?? 0,
      heartbeatAgeMs: BigInt(Math.round(ageMs)),
      version: executor.version,
      collects: collects.map(({ id }) => BigInt(id)),
    };
  });
}

function executorState(observation: ExecutorObservation | undefined, ageMs: number): string {
  if (observation?.connected !== true) return 'disconnected';
  return ageMs < LIMITS.executorSuspectMs ? 'live' : 'suspect';
}

/** The number of rows that a request asks for, or the usual one. */
export function bounded(limit: number, fallback: number): number {
  return limit === 0 ? fallback : Math.min(limit, SHOWN_MAX);
}
