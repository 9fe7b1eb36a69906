/** From a decoded entry to its answers: the one place where operation types meet their `apply`. */
import { assertNever } from '../../base/index.ts';
import { applyLoseCopies } from './copies.ts';
import { applyDeclareJob } from './declare-job.ts';
import { applyExpireExecutor, applyRegisterExecutor } from './executors.ts';
import { applyFinishPrepare, applyGrantCollector, applyGrantPrepare, applyStopCollector } from './grants.ts';
import { applyFinishReport, applyGrantReport } from './generations.ts';
import { applyFinishDrop, applyFinishFold, applyGrantDrop, applyGrantFold } from './housekeeping.ts';
import { applyWriteKeyValues } from './key-values.ts';
import type { ApplyMeta, Entry, EntryItem, Operation, OperationResult } from './operations.ts';
import { encodeItemReply } from './replies.ts';
import { applyRestoreCluster } from './restore.ts';
import { applyLoseWindows, applyResealWindow } from './reseal.ts';
import { applyAskResnapshot } from './resnapshot.ts';
import { applyAddSchema } from './schemas.ts';
import { applyFailSink, applyGrantSinkEpoch, applyReconcileSink } from './sinks.ts';
import { admit, applyOpenSession, remember } from './sessions.ts';
import { applyFinishStates, applyGrantStates, applyResetStates } from './states.ts';
import { applyOpenSpan } from './spans.ts';
import { applyFinishTask, applyGrantTask, applyParkTask, applyWakeTasks } from './tasks.ts';
import { applySealWindow } from './windows.ts';
import type { StateWriter } from './writer.ts';

/** Applies an entry, item by item. Answers with the reply bytes of each item. */
export function applyEntry(
  writer: StateWriter,
  entry: Entry,
  position: { readonly index: number; readonly term: number },
): Uint8Array[] {
  // Log time never goes back, whatever an entry says: two leaders may have stamped from different pasts.
  const logTimeMs = Math.max(writer.cluster.logTimeMs, entry.logTimeMs);
  writer.setCluster({ ...writer.cluster, logTimeMs, wallMs: entry.wallMs });
  const meta: ApplyMeta = { ...position, logTimeMs };
  return entry.items.map((item) => applyItem(writer, item, meta));
}

function applyItem(writer: StateWriter, item: EntryItem, meta: ApplyMeta): Uint8Array {
  const { session, sequence, acked } = item;
  if (session === 0) return encodeItemReply(run(writer, item, meta));
  const admission = admit(writer, session, sequence);
  if (admission.kind === 'answered') return admission.reply;
  if (admission.kind === 'refused') return encodeItemReply(item.operations.map(() => admission.refusal));
  const reply = encodeItemReply(run(writer, item, meta));
  remember(writer, { session, sequence, acked: acked ?? 0, reply }, meta);
  return reply;
}

function run(writer: StateWriter, item: EntryItem, meta: ApplyMeta): OperationResult[] {
  return item.operations.map((operation) => applyOperation(writer, operation, meta));
}

/** Applies one operation: it takes effect as a whole, or is refused and changes nothing. */
export function applyOperation(writer: StateWriter, operation: Operation, meta: ApplyMeta): OperationResult {
  switch (operation.type) {
    case 'session.open':
      return applyOpenSession(writer, operation, meta);
    case 'executor.register':
      return applyRegisterExecutor(writer, operation, meta);
    case 'executor.expire':
      return applyExpireExecutor(writer, operation);
    case 'job.declare':
      return applyDeclareJob(writer, operation, meta);
    case 'sink.grant':
      return applyGrantSinkEpoch(writer, operation, meta);
    case 'sink.reconcile':
      return applyReconcileSink(writer, operation, meta);
    case 'sink.fail':
      return applyFailSink(writer, operation, meta);
    case 'prepare.grant':
      return applyGrantPrepare(writer, operation, meta);
    case 'prepare.finish':
      return applyFinishPrepare(writer, operation, meta);
    case 'collector.grant':
      return applyGrantCollector(writer, operation, meta);
    case 'collector.stop':
      return applyStopCollector(writer, operation, meta);
    case 'source.resnapshot':
      return applyAskResnapshot(writer, operation);
    case 'window.seal':
      return applySealWindow(writer, operation, meta);
    case 'window.lost':
      return applyLoseWindows(writer, operation);
    case 'window.reseal':
      return applyResealWindow(writer, operation, meta);
    case 'span.open':
      return applyOpenSpan(writer, operation);
    case 'report.grant':
    case 'report.finish':
    case 'copies.lose':
      return applyToReport(writer, operation, meta);
    case 'schema.add':
      return applyAddSchema(writer, operation);
    case 'fold.grant':
      return applyGrantFold(writer, operation, meta);
    case 'fold.finish':
      return applyFinishFold(writer, operation, meta);
    case 'drop.grant':
      return applyGrantDrop(writer, operation, meta);
    case 'drop.finish':
      return applyFinishDrop(writer, operation, meta);
    case 'task.grant':
      return applyGrantTask(writer, operation, meta);
    case 'task.finish':
      return applyFinishTask(writer, operation, meta);
    case 'task.park':
      return applyParkTask(writer, operation, meta);
    case 'task.wake':
      return applyWakeTasks(writer, operation, meta);
    case 'state.grant':
      return applyGrantStates(writer, operation, meta);
    case 'state.finish':
      return applyFinishStates(writer, operation, meta);
    case 'state.reset':
      return applyResetStates(writer, operation);
    case 'kv.write':
      return applyWriteKeyValues(writer, operation);
    case 'cluster.restore':
      return applyRestoreCluster(writer, operation, meta);
    default:
      return assertNever(operation, 'operation');
  }
}

type OfReport = Extract<Operation, { type: 'report.grant' | 'report.finish' | 'copies.lose' }>;

/** The way of a report generation into its database, and out of it. */
function applyToReport(writer: StateWriter, operation: OfReport, meta: ApplyMeta): OperationResult {
  switch (operation.type) {
    case 'report.grant':
      return applyGrantReport(writer, operation, meta);
    case 'report.finish':
      return applyFinishReport(writer, operation, meta);
    case 'copies.lose':
      return applyLoseCopies(writer, operation);
    default:
      return assertNever(operation, 'operation of a report');
  }
}
