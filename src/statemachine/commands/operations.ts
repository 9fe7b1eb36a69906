/**
 * The operations that change the replicated state, as versioned data. One Raft entry carries what one turn
 * of the leader's loop gathered: a list of (session, sequence, operations); see entry.ts.
 *
 * Each operation has a pure, synchronous `apply(view, input, meta)` beside it in this folder. An operation
 * never fails half way: it answers `{ ok: false, code }` and has then changed nothing.
 */
import type { ErrorCode } from '../../base/index.ts';
import type { DeclareJob } from './declaration.ts';
import type { DimensionCopyRecord, TaskState } from './records.ts';

export type { DeclareJob } from './declaration.ts';

export type Operation =
  | OpenSession
  | RegisterExecutor
  | ExpireExecutor
  | DeclareJob
  | GrantSinkEpoch
  | ReconcileSink
  | FailSink
  | GrantPrepare
  | FinishPrepare
  | GrantCollector
  | StopCollector
  | AskResnapshot
  | SealWindow
  | LoseWindows
  | ResealWindow
  | OpenSpan
  | GrantReport
  | FinishReport
  | LoseCopies
  | AddSchema
  | GrantFold
  | FinishFold
  | GrantDrop
  | FinishDrop
  | GrantTask
  | FinishTask
  | ParkTask
  | WakeTasks
  | GrantStates
  | FinishStates
  | ResetStates
  | WriteKeyValues
  | RestoreCluster;

export interface OpenSession {
  readonly type: 'session.open';
  readonly v: 1;
  readonly name: string;
}

/** The same (name, incarnation) gets the same executor and session again: a reconnect is no new presence. */
export interface RegisterExecutor {
  readonly type: 'executor.register';
  readonly v: 1;
  readonly name: string;
  readonly incarnation: string;
  readonly slots: number;
  readonly version: string;
  readonly engines: readonly string[];
}

/** Ends an executor's session; its tasks and collectors are then granted to others under new tokens. */
export interface ExpireExecutor {
  readonly type: 'executor.expire';
  readonly v: 1;
  readonly executorId: number;
  readonly reason: string;
}

/** Grants the step to a report generation's next phase: making it, showing it, dropping it. */
export interface GrantReport {
  readonly type: 'report.grant';
  readonly v: 1;
  readonly reportId: number;
  readonly generation: number;
  readonly executorId: number;
}

/** Ends such a step: the report is in its next phase, or it failed with a code. */
export interface FinishReport {
  readonly type: 'report.finish';
  readonly v: 1;
  readonly reportId: number;
  readonly generation: number;
  readonly token: string;
  readonly copies: readonly ReportCopies[];
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly retryAfterMs: number;
}

/** What a prepare found or made of the dimension copies of a report generation. */
export interface ReportCopies {
  readonly reportId: number;
  readonly generation: number;
  readonly copies: readonly DimensionCopyRecord[];
  /** One of them is nowhere any more, and the source holds other rows by now. */
  readonly lost: boolean;
}

/** A task did not find a dimension copy of its report, on the word of the store shard's primary. */
export interface LoseCopies {
  readonly type: 'copies.lose';
  readonly v: 1;
  readonly reportId: number;
  readonly generation: number;
  /** The token that the copies are named by. */
  readonly prepared: string;
}

/** A fresh epoch for a report database (design 6.12), to be set there by an executor. */
export interface GrantSinkEpoch {
  readonly type: 'sink.grant';
  readonly v: 1;
  readonly sinkId: number;
  readonly executorId: number;
}

/**
 * What a report database holds under its fresh epoch, told in pieces: finished tasks that it lacks, and
 * report generations whose tables are not there. After the last piece the database is reconciled.
 */
export interface ReconcileSink {
  readonly type: 'sink.reconcile';
  readonly v: 1;
  readonly sinkId: number;
  readonly epoch: string;
  /** Keys of tasks. */
  readonly lacking: readonly string[];
  readonly missing: readonly { readonly reportId: number; readonly generation: number }[];
  /** How far each generation is folded there, and the seal of that window ('0' where nothing is folded). */
  readonly folds: readonly {
    readonly reportId: number;
    readonly generation: number;
    readonly window: number;
    readonly seal: string;
  }[];
  readonly last: boolean;
}

/** The epoch could not be set, or what was found not be told: another one is granted later. */
export interface FailSink {
  readonly type: 'sink.fail';
  readonly v: 1;
  readonly sinkId: number;
  readonly epoch: string;
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly retryAfterMs: number;
}

/** Grants an executor the making of a source's tables and dimension copies. */
export interface GrantPrepare {
  readonly type: 'prepare.grant';
  readonly v: 1;
  readonly sourceId: number;
  readonly executorId: number;
}

/**
 * Ends a prepare grant: done, or failed with a code (then the source shows the problem until the next grant).
 */
export interface FinishPrepare {
  readonly type: 'prepare.finish';
  readonly v: 1;
  readonly sourceId: number;
  readonly token: string;
  readonly copies: readonly ReportCopies[];
  readonly errorCode: string;
  readonly errorMessage: string;
  /** After a failure: no new grant before this long. */
  readonly retryAfterMs: number;
}

export interface GrantCollector {
  readonly type: 'collector.grant';
  readonly v: 1;
  readonly sourceId: number;
  readonly executorId: number;
}

/** Takes the grant back, or reports that the collector of that epoch has stopped by itself. */
export interface StopCollector {
  readonly type: 'collector.stop';
  readonly v: 1;
  readonly sourceId: number;
  readonly epoch: string;
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly retryAfterMs: number;
}

/**
 * Lets a source go on whose log cannot be read on: the next collector compares its tables with the row states
 * (design 6.5). Repeating it while that is under way answers as at first.
 */
export interface AskResnapshot {
  readonly type: 'source.resnapshot';
  readonly v: 1;
  readonly sourceId: number;
}

/**
 * Design 6.4: accepted only if the epoch is current and `from` equals the last `to`. Repeating it answers as
 * at first.
 */
export interface SealWindow extends SealedSlice {
  readonly type: 'window.seal';
  readonly v: 1;
  /** How far the snapshot has come (design 6.5), opaque here; empty when it is finished. */
  readonly cursor: string;
  readonly coversMs: number;
}

/**
 * A store shard's primary does not show these windows: the collector's grant is taken back, and its next one
 * captures them again.
 */
export interface LoseWindows {
  readonly type: 'window.lost';
  readonly v: 1;
  readonly sourceId: number;
  readonly firstWindow: number;
  readonly lastWindow: number;
}

/**
 * Design 6.4: a sealed window was captured again, from the same place to the same place, with the same rows,
 * under the collector's current epoch; or it cannot be, and the error says why.
 */
export interface ResealWindow extends SealedSlice {
  readonly type: 'window.reseal';
  readonly v: 1;
  readonly errorCode: string;
  readonly errorMessage: string;
}

/** What was captured of a source's change log from one position to another. */
interface SealedSlice {
  readonly sourceId: number;
  readonly window: number;
  readonly epoch: string;
  readonly from: string;
  readonly to: string;
  readonly day: string;
  readonly topologyVersion: number;
  readonly schemaVersions: readonly { readonly table: string; readonly version: number }[];
  readonly shards: readonly { readonly shard: string; readonly rows: number; readonly checksum: string }[];
}

/**
 * Decides which windows a report takes as its next step; it cannot be taken back (design 6.7). The windows
 * are the next ones of the report, sealed, and alike. Repeating it answers as at first.
 */
export interface OpenSpan {
  readonly type: 'span.open';
  readonly v: 1;
  readonly reportId: number;
  readonly generation: number;
  readonly firstWindow: number;
  readonly lastWindow: number;
}

/** Grants folding a report's FINAL spans up to a window; it replaces an earlier grant. */
export interface GrantFold {
  readonly type: 'fold.grant';
  readonly v: 1;
  readonly reportId: number;
  readonly generation: number;
  readonly window: number;
  readonly executorId: number;
}

/** Ends a fold where the mark stands now, or with a code. */
export interface FinishFold {
  readonly type: 'fold.finish';
  readonly v: 1;
  readonly reportId: number;
  readonly generation: number;
  readonly token: string;
  readonly window: number;
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly retryAfterMs: number;
}

/** Grants dropping what the store holds of a source up to its horizon; it replaces an earlier grant. */
export interface GrantDrop {
  readonly type: 'drop.grant';
  readonly v: 1;
  readonly sourceId: number;
  readonly executorId: number;
}

export interface FinishDrop {
  readonly type: 'drop.finish';
  readonly v: 1;
  readonly sourceId: number;
  readonly token: string;
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly retryAfterMs: number;
}

/**
 * Begins a new schema version of a captured table (design 6.3), under the collector's epoch: the windows from
 * the next on may name it. Repeating it answers as at first. Documents are of src/job, opaque here.
 */
export interface AddSchema {
  readonly type: 'schema.add';
  readonly v: 1;
  readonly sourceId: number;
  readonly epoch: string;
  readonly table: string;
  readonly version: number;
  /** The source with the new version, and the version that it replaces. */
  readonly spec: string;
  readonly replaced: string;
  /** As in {@link DeclareJob}, of `spec`. */
  readonly captured: readonly string[];
  /**
   * The same of the source with the tables that are added to it; `former` is what that was before. Empty if
   * none are.
   */
  readonly addition: {
    readonly former: string;
    readonly spec: string;
    readonly captured: readonly string[];
  };
  /** Reports that read a column that is not the same any more: they stop before the next window. */
  readonly stops: readonly { readonly reportId: number; readonly problem: string }[];
}

/**
 * Makes a new version of a task under a new token. `version` is the one that this grant expects to make:
 * 1 for a task that was never granted, current + 1 else (STALE_VERSION otherwise).
 */
export interface GrantTask {
  readonly type: 'task.grant';
  readonly v: 1;
  readonly reportId: number;
  readonly generation: number;
  readonly firstWindow: number;
  readonly lastWindow: number;
  readonly part: number;
  readonly version: number;
  readonly executorId: number;
  /** `merge`, or the final state that a retraction leads to. */
  readonly purpose: 'merge' | 'DEAD' | 'SKIPPED' | 'CANCELLED';
  readonly reason: string;
  /** Whether the version that this one replaces counts as a failed attempt. */
  readonly failedAttempt: boolean;
}

/** Accepted only from the current version's token. */
export interface FinishTask {
  readonly type: 'task.finish';
  readonly v: 1;
  readonly key: string;
  readonly version: number;
  readonly token: string;
  readonly state: Exclude<TaskState, 'ASSIGNED' | 'PARKED'>;
}

/**
 * Puts the current version into the durable delay queue. Its token stays the highest: a late merge of it is
 * harmless.
 */
export interface ParkTask {
  readonly type: 'task.park';
  readonly v: 1;
  readonly key: string;
  readonly version: number;
  readonly delayMs: number;
  readonly reason: string;
}

/**
 * Makes parked tasks due now. An empty list means all that are parked (a bounded number at once; the answer's
 * `more` says whether some are left). A task that is named and DEAD is parked again, due now.
 */
export interface WakeTasks {
  readonly type: 'task.wake';
  readonly v: 1;
  readonly keys: readonly string[];
}

/** Grants the next windows of a source's row states on one store shard (design 6.6). */
export interface GrantStates {
  readonly type: 'state.grant';
  readonly v: 1;
  readonly sourceId: number;
  readonly shard: string;
  readonly firstWindow: number;
  readonly lastWindow: number;
  readonly executorId: number;
  /** Whether the grant that this one replaces counts as a failed attempt. */
  readonly failedAttempt: boolean;
}

/** Ends the grant of that token: the shard's mark is at `window`; with a code, without being done. */
export interface FinishStates {
  readonly type: 'state.finish';
  readonly v: 1;
  readonly sourceId: number;
  readonly shard: string;
  readonly token: string;
  readonly window: number;
  readonly errorCode: string;
  readonly errorMessage: string;
  /** After a failure: no new grant before this long. */
  readonly retryAfterMs: number;
}

/** The shard's mark was found further back than it has been: a failover has lost what came after it. */
export interface ResetStates {
  readonly type: 'state.reset';
  readonly v: 1;
  readonly sourceId: number;
  readonly shard: string;
  readonly token: string;
  readonly window: number;
}

/** A client's batch of key-value writes, as the client made it (base/key-value-batch.ts). */
export interface WriteKeyValues {
  readonly type: 'kv.write';
  readonly v: 1;
  readonly writes: Uint8Array;
}

/** The cluster was made from another one's state: see restore.ts. Never proposed, only put into a new log. */
export interface RestoreCluster {
  readonly type: 'cluster.restore';
  readonly v: 1;
  readonly formerId: string;
}

export type OperationType = Operation['type'];

export type ResultValue = Readonly<Record<string, string | number | boolean | Uint8Array>>;

/** The answer of one operation. Values are encodable; ids are numbers, tokens decimal strings. */
export type OperationResult =
  | { readonly ok: true; readonly value: ResultValue }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/** What an entry says about itself; the same on every node. */
export interface ApplyMeta {
  readonly index: number;
  readonly term: number;
  readonly logTimeMs: number;
}

/** What one turn of the leader's loop proposes. Session 0 is the leader itself: no deduplication. */
export interface EntryItem {
  readonly session: number;
  readonly sequence: number;
  /** The session has the answers of all its requests up to this one: they need not be kept any more. */
  readonly acked?: number | undefined;
  readonly operations: readonly Operation[];
}

/** The decoded payload of a Raft entry. */
export interface Entry {
  /** Log time: last log time plus the leader's monotonic elapsed time. */
  readonly logTimeMs: number;
  readonly wallMs: number;
  readonly items: readonly EntryItem[];
}
