/**
 * What a task does on databases: rows are fetched, SQL is run and results are merged in steps of their own.
 */
import { asToken, isTidemarkError, LIMITS, must, TidemarkError, type Clock } from '../base/index.ts';
import { reportDefinition, type Task } from '../wire/index.ts';
import type { Catalog } from './catalog.ts';
import { computeContribution, type Computed } from './compute/compute.ts';
import { Gatherer } from './compute/gatherer.ts';
import type { SpanCopies } from './compute/span-copies.ts';
import type { Databases } from './databases.ts';
import { killMarked, markerName } from './marker.ts';
import { placed } from './placed.ts';
import type { Run } from './run.ts';
import type { ReportLayout } from './sink/layout.ts';
import type { LedgerSpan } from './sink/ledger.ts';
import { mergeContribution, type MergeResult } from './sink/merge.ts';
import { retractContribution, type RetractResult } from './sink/retract.ts';
import type { SinkGrant } from './sink/sink-epoch.ts';
import { Staging, type StagingInput } from './sink/staging.ts';
import type { SinkContext } from './sink/transaction.ts';
import type { RunnerLog, TaskSteps } from './task-runner.ts';

export interface TaskStepsOptions {
  readonly catalog: Catalog;
  readonly databases: Databases;
  readonly copies: SpanCopies;
  /** The cluster whose leader dispatched the task. */
  readonly clusterId: () => string;
  readonly clock: Clock;
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: RunnerLog;
}

export function databaseSteps(options: TaskStepsOptions): TaskSteps {
  return {
    compute: (run) => compute(options, run),
    merge: (run, computed) => merge(options, run, computed),
    retract: (run) => retract(options, run),
    killSuperseded: (run) => killSuperseded(options, run),
  };
}

/** Earlier grants' connections, on the store and on the report database alike. */
async function killSuperseded(options: TaskStepsOptions, run: Run): Promise<void> {
  const { catalog, databases } = options;
  const markers = run.task.superseded.map((token) => markerName(options.clusterId(), token));
  if (markers.length === 0) return;
  const { shards } = catalog.topology(run.task.topologyVersion);
  const { gathered } = layoutOfTask(catalog, run.task).report;
  const read = gathered === true ? shards : [shards[run.task.part]];
  const sink = catalog.sink(Number(run.task.sinkId));
  for (const group of [...read, sink]) {
    if (group === undefined) continue;
    const killed = await killMarked(databases.group(group), markers);
    if (killed > 0) options.log.info({ task: run.task.task, killed }, 'connections of earlier grants killed');
  }
}

async function compute(options: TaskStepsOptions, run: Run): Promise<Computed> {
  const { catalog, databases, clusterId } = options;
  const { task } = run;
  const { shards } = catalog.topology(task.topologyVersion);
  const shard = shards[task.part];
  if (shard === undefined)
    throw new TidemarkError('BAD_REQUEST', `there is no store shard for part ${task.part}`);
  const sourceId = Number(task.sourceId);
  const layout = layoutOfTask(catalog, task);
  const others = shards
    .filter((other) => other !== shard)
    .map((other) => ({ store: databases.group(other), shard: other.name }));
  const brought = { rows: 0 };
  return computeContribution({
    store: databases.group(shard),
    shard: shard.name,
    layout,
    source: catalog.source(sourceId),
    captured: (table, version) => catalog.captured(sourceId, table, version),
    sourceId,
    windows: task.windows,
    // A first contribution comes with its last window alone; of window 1 both ways give the same.
    fromStates: task.windows.length === 1 && task.lastWindow > task.firstWindow,
    timeMs: task.deadlineMs,
    prepared: task.prepared,
    formerChains: task.formerChains,
    marker: markerName(clusterId(), run.token),
    gather: () => gatherer(options, run, brought),
    copies: options.copies,
    ...(layout.report.gathered === true ? { others } : {}),
    gathered: (rows) => {
      brought.rows = rows;
      run.rows = rows;
    },
    signal: run.signal,
  });
}

/** Once something was staged, a further attempt stages from its first row on: none lies there unseen. */
function gatherer(options: TaskStepsOptions, run: Run, brought: { readonly rows: number }): Gatherer {
  const { isOfCells } = layoutOfTask(options.catalog, run.task);
  const heldMax = isOfCells ? LIMITS.cellRowsMax : LIMITS.contributionRowsHeldMax;
  return new Gatherer({
    heldMax: run.staged ? -1 : heldMax,
    rowsMax: isOfCells ? LIMITS.cellRowsMax : LIMITS.contributionRowsMax,
    pieceRows: LIMITS.contributionPieceRows,
    progress: (rows) => {
      run.rows = brought.rows + rows;
    },
    stage: () => {
      run.staged = true;
      return Staging.open(sinkContext(options, run), mergeOf(options, run));
    },
  });
}

async function merge(options: TaskStepsOptions, run: Run, computed: Computed): Promise<MergeResult> {
  const layout = layoutOfTask(options.catalog, run.task);
  const span = spanOf(run.task);
  try {
    const { contribution } = computed;
    return await mergeContribution(sinkContext(options, run), { ...mergeOf(options, run), contribution });
  } catch (error) {
    if (!isTidemarkError(error, 'VALUE_RANGE')) throw error;
    const windows = span.firstWindow === span.lastWindow ? '' : ` to ${span.lastWindow}`;
    throw placed(error, `report ${layout.report.name}, window ${span.firstWindow}${windows}`);
  }
}

/** Whose contribution is staged or merged, and where. */
function mergeOf(options: TaskStepsOptions, run: Run): StagingInput {
  return {
    grant: grantOf(options, run.task),
    layout: layoutOfTask(options.catalog, run.task),
    span: spanOf(run.task),
    token: run.token,
  };
}

function retract(options: TaskStepsOptions, run: Run): Promise<RetractResult> {
  return retractContribution(sinkContext(options, run), {
    grant: grantOf(options, run.task),
    layout: layoutOfTask(options.catalog, run.task),
    span: spanOf(run.task),
    token: run.token,
    reason: run.task.reason,
  });
}

function sinkContext(options: TaskStepsOptions, run: Run): SinkContext {
  const engine = options.databases.group(options.catalog.sink(Number(run.task.sinkId)));
  return {
    engine,
    clock: options.clock,
    random: options.random,
    track: (connection) => run.track(engine, connection),
    marker: markerName(options.clusterId(), run.token),
    cancelled: () => run.cancelled,
    log: options.log,
  };
}

function grantOf(options: TaskStepsOptions, task: Task): SinkGrant {
  return { clusterId: options.clusterId(), epoch: asToken(task.sinkEpoch) };
}

function layoutOfTask(catalog: Catalog, task: Task): ReportLayout {
  return catalog.report(reportDefinition(task.reportId, task.generation));
}

function spanOf(task: Task): LedgerSpan {
  const last = must(task.windows.at(-1), 'the last window of a task');
  return {
    reportId: Number(task.reportId),
    generation: Number(task.generation),
    sourceId: Number(task.sourceId),
    firstWindow: Number(task.firstWindow),
    lastWindow: Number(task.lastWindow),
    part: task.part,
    parts: task.parts,
    coversMs: Number(last.coversMs),
    position: last.to,
  };
}
