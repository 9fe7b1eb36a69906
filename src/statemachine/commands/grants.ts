/**
 * Grants that precede tasks: the preparing of a source, and its collector.
 */
import { finishAddition, openPrepare } from './additions.ts';
import { settleCopies } from './copies.ts';
import { nextToken, supersede } from './counters.ts';
import { idKey } from './keys.ts';
import type {
  ApplyMeta,
  FinishPrepare,
  GrantCollector,
  GrantPrepare,
  OperationResult,
  StopCollector,
} from './operations.ts';
import { accept, refuse } from './result.ts';
import { lostPosition, positionRefusal } from './resnapshot.ts';
import { isReconciled, notReconciled } from './sinks.ts';
import type { StateWriter } from './writer.ts';

export function applyGrantPrepare(
  writer: StateWriter,
  input: GrantPrepare,
  meta: ApplyMeta,
): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  if (writer.executors.get(idKey(input.executorId)) === undefined) {
    return refuse('UNKNOWN_EXECUTOR', `executor ${input.executorId} is not known`);
  }
  if (!isReconciled(writer.sinks.get(idKey(source.sinkId)))) return notReconciled(source.name);
  const { executorId } = input;
  const isPrepared = source.prepare?.done === true;
  if (isPrepared && source.addition === null) {
    return refuse('TASK_FINISHED', `source ${source.name} is prepared already`);
  }
  const token = nextToken(writer, meta);
  const prepare = { token, executorId, done: false, superseded: supersede(openPrepare(source)) };
  const ofAddition = isPrepared && source.addition !== null;
  const granted = ofAddition ? { addition: { ...source.addition, prepare } } : { prepare };
  writer.sources.put(idKey(source.id), { ...source, ...granted });
  return accept({ token });
}

/** Ends a prepare grant. After a failure there is none, until a new grant at or after `retryAtMs`. */
export function applyFinishPrepare(
  writer: StateWriter,
  input: FinishPrepare,
  meta: ApplyMeta,
): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  const { addition } = source;
  if (addition?.prepare?.token === input.token) {
    const retryAtMs = meta.logTimeMs + input.retryAfterMs;
    writer.sources.put(idKey(source.id), finishAddition(source, addition, { ...input, retryAtMs }));
    return accept();
  }
  if (source.prepare?.token !== input.token) {
    return refuse('STALE_EPOCH', `source ${source.name} has another prepare grant`);
  }
  if (source.prepare.done) return accept();
  const failed = input.errorCode !== '';
  writer.sources.put(idKey(source.id), {
    ...source,
    prepare: failed ? null : { ...source.prepare, done: true },
    problem: problemText(input),
    retryAtMs: failed ? meta.logTimeMs + input.retryAfterMs : 0,
  });
  if (failed) return accept();
  for (const report of [...writer.reports.values()]) {
    // Others are prepared under grants of their own.
    const mine = report.sourceId === source.id && report.phase === 'live' && !report.copiesLost;
    if (mine) settleCopies(writer, report, input.token, input.copies);
  }
  return accept();
}

/** Grants the collector of a source; its token is the epoch of every change row it writes (design 6.3). */
export function applyGrantCollector(
  writer: StateWriter,
  input: GrantCollector,
  meta: ApplyMeta,
): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  if (writer.executors.get(idKey(input.executorId)) === undefined) {
    return refuse('UNKNOWN_EXECUTOR', `executor ${input.executorId} is not known`);
  }
  if (source.prepare?.done !== true) {
    return refuse('BAD_REQUEST', `source ${source.name} is not prepared`);
  }
  if (!isReconciled(writer.sinks.get(idKey(source.sinkId)))) return notReconciled(source.name);
  const refusal = positionRefusal(source);
  if (refusal !== undefined) return refusal;
  const epoch = nextToken(writer, meta);
  writer.sources.put(idKey(source.id), {
    ...source,
    collector: { epoch, executorId: input.executorId, grantedMs: meta.logTimeMs },
  });
  return accept({ epoch, position: source.position, lastWindow: source.lastWindow });
}

export function applyStopCollector(
  writer: StateWriter,
  input: StopCollector,
  meta: ApplyMeta,
): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  if (source.collector?.epoch !== input.epoch) {
    return refuse('STALE_EPOCH', `source ${source.name} has another collector grant`);
  }
  writer.sources.put(idKey(source.id), {
    ...source,
    collector: null,
    ...lostPosition(source, input),
    problem: problemText(input),
    retryAtMs: meta.logTimeMs + input.retryAfterMs,
  });
  return accept();
}

function problemText(error: { readonly errorCode: string; readonly errorMessage: string }): string {
  return error.errorCode === '' ? '' : `${error.errorCode}: ${error.errorMessage}`;
}
