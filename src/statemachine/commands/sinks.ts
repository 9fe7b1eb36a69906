/**
 * Report databases: a fresh epoch per try, what an executor has found under it, and the way back to a
 * database that lost commits (design 6.12). Nothing is granted for a database before it is reconciled.
 */
import { must, mutated } from '../../base/index.ts';
import { nextToken } from './counters.ts';
import { idKey, taskRowKeyOf, windowKey } from './keys.ts';
import type { ApplyMeta, FailSink, GrantSinkEpoch, OperationResult, ReconcileSink } from './operations.ts';
import { rebuild } from './rebuild.ts';
import type { ReportRecord, SinkRecord, TaskRecord } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import { putTask } from './spans.ts';
import type { StateWriter } from './writer.ts';

/** Whether work may be granted for a report database. */
export function isReconciled(
  sink: SinkRecord | undefined,
): sink is SinkRecord & { readonly epoch: string; readonly reconciled: true } {
  return sink !== undefined && sink.epoch !== null && (sink.reconciled || mutated('sink.grantsBefore'));
}

export function notReconciled(name: string): Refusal {
  return refuse('SINK_EPOCH', `the report database of ${name} has no epoch yet`);
}

/** A report database that was never written under an epoch. */
export function newSink(sink: Pick<SinkRecord, 'id' | 'name' | 'spec' | 'members'>): SinkRecord {
  const { id, name, spec, members } = sink;
  return {
    id,
    name,
    spec,
    members,
    epoch: null,
    executorId: 0,
    reconciled: false,
    problem: '',
    retryAtMs: 0,
  };
}

/** Gives a report database a fresh epoch. What is assigned gets a new version once it is reconciled. */
export function applyGrantSinkEpoch(
  writer: StateWriter,
  input: GrantSinkEpoch,
  meta: ApplyMeta,
): OperationResult {
  const sink = writer.sinks.get(idKey(input.sinkId));
  if (sink === undefined) return refuse('UNKNOWN_SINK', `report database ${input.sinkId} is not known`);
  if (writer.executors.get(idKey(input.executorId)) === undefined) {
    return refuse('UNKNOWN_EXECUTOR', `executor ${input.executorId} is not known`);
  }
  const epoch = nextToken(writer, meta);
  writer.sinks.put(idKey(sink.id), { ...sink, epoch, executorId: input.executorId, reconciled: false });
  return accept({ epoch });
}

export function applyReconcileSink(
  writer: StateWriter,
  input: ReconcileSink,
  meta: ApplyMeta,
): OperationResult {
  const sink = writer.sinks.get(idKey(input.sinkId));
  if (sink === undefined) return refuse('UNKNOWN_SINK', `report database ${input.sinkId} is not known`);
  if (sink.epoch !== input.epoch) {
    return refuse('STALE_EPOCH', `report database ${sink.name} has another epoch`);
  }
  if (sink.reconciled) return accept();
  for (const key of input.lacking) {
    const task = writer.tasks.get(taskRowKeyOf(key));
    if (task?.sinkId === sink.id) doAgain(writer, task, meta);
  }
  for (const missing of input.missing) {
    const report = writer.reports.get(idKey(missing.reportId));
    if (report?.generation !== missing.generation || report.phase === 'retired') continue;
    // What was folded away there cannot be merged again.
    if (report.droppedWindow > 0) rebuildHere(writer, report);
    else {
      const { folded } = report;
      const none = mutated('sink.foldKeptWhereMissing') ? folded : { window: 0, seal: '' };
      adoptFold(writer, report, { ...missing, ...none });
      makeAgain(writer, report);
    }
  }
  for (const fold of input.folds) {
    const report = writer.reports.get(idKey(fold.reportId));
    if (report?.generation !== fold.generation || report.phase === 'retired') continue;
    if (isOfChain(writer, report, fold)) adoptFold(writer, report, fold);
    else rebuildHere(writer, report);
  }
  if (input.last) {
    writer.sinks.put(idKey(sink.id), { ...sink, reconciled: true, problem: '', retryAtMs: 0 });
  }
  return accept();
}

/**
 * A finished task that the report database lacks is due again, whatever state its window has reached: as the
 * merge it was, or as the retraction that its hole needs.
 */
function doAgain(writer: StateWriter, task: TaskRecord, meta: ApplyMeta): void {
  const { state } = task;
  if (state === 'ASSIGNED' || state === 'PARKED') return;
  const purpose = task.purpose === 'merge' || state === 'DONE' ? 'merge' : state;
  const again: TaskRecord = {
    ...task,
    state: 'PARKED',
    purpose,
    attempts: 0,
    wakeAtMs: meta.logTimeMs,
    heldSinceMs: mutated('state.dueAgainIsOld') ? task.heldSinceMs : meta.logTimeMs,
    reason: purpose === 'merge' ? 'the report database lost it' : task.reason,
  };
  putTask(writer, again, meta);
}

/**
 * Whether a fold mark is of windows as this cluster has cut them: then what is folded is right. A restored
 * cluster may have sealed the same numbers over other rows; and what it has dropped already can neither be
 * compared nor merged again, where a restored report database is folded less far.
 */
function isOfChain(writer: StateWriter, report: ReportRecord, fold: ReconcileSink['folds'][number]): boolean {
  if (mutated('sink.foldOfAnyChain')) return true;
  if (fold.window < report.droppedWindow) return false;
  if (fold.window === 0) return true;
  const sealed = writer.windows.get(windowKey(report.sourceId, fold.window));
  if (sealed !== undefined) return sealed.epoch === fold.seal;
  return fold.window <= (writer.sources.get(idKey(report.sourceId))?.horizon ?? 0);
}

/** Begins a report anew in tables of its next generation. Its dimension copies stay. */
export function rebuildHere(writer: StateWriter, report: ReportRecord): void {
  rebuild(writer, report);
  makeAgain(writer, report);
}

/**
 * Has tables made before anything is granted for them: by a grant of the report's own, as when it was new.
 * Whatever keeps one from being made stops no other report of its source.
 */
function makeAgain(writer: StateWriter, { id, sourceId }: ReportRecord): void {
  const source = writer.sources.get(idKey(sourceId));
  const report = must(writer.reports.get(idKey(id)), 'a report whose tables are gone');
  if (!mutated('sink.missingStopsSource')) {
    writer.reports.put(idKey(id), { ...report, phase: 'new', change: null });
  } else if (source !== undefined) writer.sources.put(idKey(sourceId), { ...source, prepare: null });
}

/** A fold whose end was not told counts; one that was lost does not. */
function adoptFold(writer: StateWriter, report: ReportRecord, fold: ReconcileSink['folds'][number]): void {
  const folded = { window: fold.window, seal: fold.window === 0 ? '' : fold.seal };
  writer.reports.put(idKey(report.id), { ...report, folded, fold: null });
}

/** Ends a try without success. The next one begins at or after `retryAtMs`. */
export function applyFailSink(writer: StateWriter, input: FailSink, meta: ApplyMeta): OperationResult {
  const sink = writer.sinks.get(idKey(input.sinkId));
  if (sink === undefined) return refuse('UNKNOWN_SINK', `report database ${input.sinkId} is not known`);
  if (sink.epoch !== input.epoch) {
    return refuse('STALE_EPOCH', `report database ${sink.name} has another epoch`);
  }
  writer.sinks.put(idKey(sink.id), {
    ...sink,
    executorId: 0,
    reconciled: false,
    problem: `${input.errorCode}: ${input.errorMessage}`,
    retryAtMs: meta.logTimeMs + input.retryAfterMs,
  });
  return accept();
}
