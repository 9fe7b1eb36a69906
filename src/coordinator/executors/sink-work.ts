/**
 * What a leader tells executors of a report database (design 6.12): the order to put it under a fresh
 * epoch, the tasks that are known there, piece by piece, and what a probe looks for.
 */
import { parseToken } from '../../base/index.ts';
import {
  idKey,
  isReconciled,
  isRetired,
  taskWindowPrefix,
  windowKey,
  type ReportRecord,
  type SinkRecord,
  type StateView,
  type TaskRecord,
} from '../../statemachine/index.ts';
import { KnownTaskState, reportDefinition } from '../../wire/index.ts';
import type {
  AuditSink,
  KnownGeneration,
  KnownSink,
  KnownTask,
  ProbeSink,
  Reconcile,
} from '../../wire/index.ts';
import { witnessesOf } from './witnesses.ts';
import type { Work, WorkContext } from './work-messages.ts';

/** Tasks told at once: a piece is a message well below the limit of one. */
const TASKS_PER_PIECE = 2_000;

/** Undefined without a current grant. */
export function reconcileWork(context: WorkContext, sink: SinkRecord): Work<Reconcile> | undefined {
  if (sink.epoch === null) return undefined;
  const known = knownSink(context, sink);
  const message = { known, epoch: parseToken(sink.epoch), leaderTerm: BigInt(context.leaderTerm) };
  return { message, definitions: definitionsOf(context.view, sink) };
}

/** Undefined where there is nothing to probe yet. */
export function probeWork(context: WorkContext, sink: SinkRecord): Work<ProbeSink> | undefined {
  if (sink.epoch === null) return undefined;
  const { view, clusterId, leaderTerm } = context;
  const message = {
    sinkId: BigInt(sink.id),
    clusterId,
    epoch: parseToken(sink.epoch),
    leaderTerm: BigInt(leaderTerm),
    generations: generationsOf(view, sink).filter(({ prepared }) => prepared),
    tasks: witnessesOf(view, sink).map((task) => knownTask(view, task)),
  };
  return { message, definitions: definitionsOf(view, sink) };
}

function knownSink({ view, clusterId }: WorkContext, sink: SinkRecord): KnownSink {
  return {
    sinkId: BigInt(sink.id),
    clusterId,
    formerIds: [...(view.cluster.formerIds ?? [])],
    generations: generationsOf(view, sink),
  };
}

const definitionId = ({ id, generation }: ReportRecord): string => reportDefinition(id, generation);

const reportsOfSink = (view: StateView, sink: SinkRecord): ReportRecord[] =>
  [...view.reports.values()].filter((report) => report.sinkId === sink.id && !isRetired(report));

function definitionsOf(
  view: StateView,
  sink: SinkRecord,
  reports = reportsOfSink(view, sink),
): Work<unknown>['definitions'] {
  return [
    { id: `sink/${sink.id}`, json: sink.spec },
    ...reports.map((report) => ({ id: definitionId(report), json: report.spec })),
  ];
}

function generationsOf(view: StateView, sink: SinkRecord): KnownGeneration[] {
  return reportsOfSink(view, sink).map((report) => knownGeneration(view, report));
}

function knownGeneration(view: StateView, report: ReportRecord): KnownGeneration {
  const source = view.sources.get(idKey(report.sourceId));
  const { window, seal } = report.folded;
  return {
    definition: definitionId(report),
    sourceId: BigInt(report.sourceId),
    keptFrom: BigInt(report.droppedWindow + 1),
    // A restored cluster prepares anew, though the tables of what was folded were made once.
    prepared: window > 0 || (source?.prepare?.done === true && hasTables(report)),
    foldedWindow: BigInt(window),
    foldedSeal: seal === '' ? 0n : parseToken(seal),
    finalWindow: BigInt(report.finalWindow),
  };
}

/** Undefined where a report database is not compared with the log yet: then nothing is expected of it. */
export function auditSinkWork(
  { view, clusterId }: Pick<WorkContext, 'view' | 'clusterId'>,
  sink: SinkRecord,
): Work<Omit<AuditSink, 'request'>> | undefined {
  if (!isReconciled(sink)) return undefined;
  const reports = [...view.reports.values()].filter(({ sinkId }) => sinkId === sink.id);
  const generations = reports.map((report) => {
    const known = knownGeneration(view, report);
    // What is about to be dropped may be there or not.
    return isRetired(report) ? { ...known, prepared: false } : known;
  });
  const known = { sinkId: BigInt(sink.id), clusterId, formerIds: [], generations };
  const definitions = definitionsOf(view, sink, reports);
  return { message: { known, epoch: parseToken(sink.epoch) }, definitions };
}

const hasTables = ({ phase, prepared }: ReportRecord): boolean => phase !== 'new' && prepared !== '';

/** Known tasks of a report database from a first window on; `next` is 0 when there are no more. */
export function knownTasks(
  view: StateView,
  sinkId: number,
  fromWindow: number,
): { readonly tasks: KnownTask[]; readonly next: number } {
  const tasks: KnownTask[] = [];
  let window = 0;
  for (const task of view.tasks.valuesFrom(taskWindowPrefix(fromWindow))) {
    if (tasks.length >= TASKS_PER_PIECE && task.firstWindow > window)
      return { tasks, next: task.firstWindow };
    window = task.firstWindow;
    if (task.sinkId === sinkId) tasks.push(knownTask(view, task));
  }
  return { tasks, next: 0 };
}

function knownTask(view: StateView, task: TaskRecord): KnownTask {
  return {
    reportId: BigInt(task.reportId),
    generation: BigInt(task.generation),
    sourceId: BigInt(task.sourceId),
    firstWindow: BigInt(task.firstWindow),
    lastWindow: BigInt(task.lastWindow),
    part: task.part,
    token: parseToken(task.token),
    state: stateOf(task),
    seal: sealOf(view, task),
  };
}

/** A merge that found its window folded away ended as CANCELLED, and left no hole. */
function stateOf({ state, purpose }: TaskRecord): KnownTaskState {
  const open = state === 'ASSIGNED' || state === 'PARKED';
  if (purpose === 'merge') {
    return open ? KnownTaskState.KNOWN_TASK_STATE_OPEN : KnownTaskState.KNOWN_TASK_STATE_DONE;
  }
  return open ? KnownTaskState.KNOWN_TASK_STATE_LEAVING : KnownTaskState.KNOWN_TASK_STATE_HOLE;
}

/**
 * The latest seal among the windows that a task is computed from: a contribution from before it is of other
 * rows. A first contribution is computed from the row states as of its last window.
 */
function sealOf(view: StateView, task: TaskRecord): bigint {
  const { sourceId, lastWindow } = task;
  const { baseWindow } = view.reports.get(idKey(task.reportId)) ?? {};
  let latest = 0n;
  for (
    let window = lastWindow === baseWindow ? lastWindow : task.firstWindow;
    window <= lastWindow;
    window++
  ) {
    const sealed = view.windows.get(windowKey(sourceId, window));
    const epoch = sealed === undefined ? 0n : parseToken(sealed.epoch);
    if (epoch > latest) latest = epoch;
  }
  return latest;
}
