/**
 * What the scheduler sees and does beyond the replicated state, as plain data: the coordinator implements
 * {@link ExecutorPort} on its gRPC streams and feeds {@link SchedulerEvent}s; tests use both without a
 * socket.
 */
import type { ErrorCode } from '../base/index.ts';
import type {
  Operation,
  OperationResult,
  ReportRecord,
  ShardStates,
  SinkRecord,
  SourceRecord,
  StateView,
  TaskRecord,
  ReportCopies,
} from '../statemachine/index.ts';

/** An executor as its stream shows it to this leader. In memory only, never in the log. */
export interface ExecutorObservation {
  readonly executorId: number;
  readonly connected: boolean;
  /** Monotonic time at which the present stream began: what was sent before it may be lost. */
  readonly connectedSinceMs: number;
  /** Monotonic time of the last heartbeat that reached this leader. */
  readonly lastHeartbeatMs: number;
  /** Tokens (decimal) of the tasks and row states that it says it holds, waiting ones included. */
  readonly running: ReadonlySet<string>;
  /** By token, rows of the contribution that the task has computed so far; of those that told of some. */
  readonly rows: ReadonlyMap<string, number>;
  /**
   * Epochs (decimal) of the collectors that it hosts: those of its hello, and those started on this stream.
   */
  readonly collecting: ReadonlySet<string>;
}

/**
 * Sends work to executors. Sending never fails and never waits: what is lost shows as a missing heartbeat or
 * a deadline.
 */
export interface ExecutorPort {
  observe(): ReadonlyMap<number, ExecutorObservation>;
  dispatchTasks(
    executorId: number,
    tasks: readonly TaskRecord[],
    superseded: ReadonlyMap<string, readonly string[]>,
  ): void;
  /** Stops work on the task under this token or a lower one, and kills its connections. */
  cancelTask(executorId: number, task: { readonly key: string; readonly token: string }): void;
  /** Sends the current grant of a source's row states on one shard. */
  dispatchStates(executorId: number, source: SourceRecord, states: ShardStates): void;
  /** Stops work on these row states under this token or a lower one, and kills its connections. */
  cancelStates(
    executorId: number,
    states: { readonly sourceId: number; readonly shard: string; readonly token: string },
  ): void;
  /** Sends the current grant of folding a report. */
  fold(executorId: number, report: ReportRecord): void;
  /** Sends the current grant of dropping what the store holds of a source. */
  dropHistory(executorId: number, source: SourceRecord): void;
  /** Stops folding, dropping or preparing under this token, and kills its connections. */
  cancelChore(executorId: number, grant: { readonly token: string }): void;
  /** Has a report database put under its fresh epoch, and told what is there. */
  reconcile(executorId: number, sink: SinkRecord): void;
  /** Asks whether a report database still stands under its epoch, and still has what was done there. */
  probe(executorId: number, sink: SinkRecord): void;
  prepare(executorId: number, source: SourceRecord): void;
  /** Sends the current grant of making, showing or dropping a report generation. */
  changeReport(executorId: number, report: ReportRecord): void;
  startCollector(executorId: number, source: SourceRecord): void;
  stopCollector(executorId: number, collector: { readonly sourceId: number; readonly epoch: string }): void;
}

export type SchedulerEvent =
  | { readonly type: 'state-changed' }
  | { readonly type: 'executor-changed'; readonly executorId: number }
  | { readonly type: 'executor-goodbye'; readonly executorId: number }
  | {
      readonly type: 'task-outcome';
      readonly executorId: number;
      readonly key: string;
      readonly version: number;
      readonly token: string;
      readonly result: 'DONE' | 'FENCED' | 'FOLDED' | 'FAILED' | 'RETRACTED';
      readonly code: ErrorCode | '';
      readonly message: string;
      /** The first window that the primary of the store shard does not show. */
      readonly lostWindow?: number | undefined;
    }
  /** A try to reconcile failed; or a probe has found another server, another epoch, or a loss. */
  | {
      readonly type: 'sink-failed' | 'sink-doubted';
      readonly sinkId: number;
      readonly epoch: string;
      readonly code: ErrorCode;
      readonly message: string;
    }
  | {
      readonly type: 'states-outcome';
      readonly sourceId: number;
      readonly shard: string;
      readonly token: string;
      /** Where the shard's mark is now. */
      readonly window: number;
      readonly code: ErrorCode | '';
      readonly message: string;
      /** The first window that the primary of the store shard does not show. */
      readonly lostWindow?: number | undefined;
    }
  | {
      readonly type: 'housekeeping-outcome';
      readonly token: string;
      /** Where the fold mark stands, after a fold. */
      readonly window: number;
      readonly code: ErrorCode | '';
      readonly message: string;
    }
  | {
      readonly type: 'prepare-outcome';
      readonly sourceId: number;
      readonly token: string;
      readonly copies: readonly ReportCopies[];
      readonly code: ErrorCode | '';
      readonly message: string;
    }
  | {
      readonly type: 'collector-stopped';
      readonly sourceId: number;
      readonly epoch: string;
      readonly code: ErrorCode | '';
      readonly message: string;
    };

/**
 * How the scheduler changes the replicated state: commits the operations in one entry, in order, as the
 * leader.
 */
export interface ProposePort {
  /** @throws TidemarkError `NOT_LEADER`, `OUTCOME_UNKNOWN`, `OVERLOADED`, `LOG_FULL`, `STOPPING`. */
  propose(operations: readonly Operation[]): Promise<readonly OperationResult[]>;
  view(): StateView;
  /** True while this node leads in `term`; asked again after every await. */
  leadsIn(term: number): boolean;
}
