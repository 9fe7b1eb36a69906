/**
 * What the planner is given and what it answers. All of it is data: the planner has no clock and sends
 * nothing.
 */
import type {
  Operation,
  ReportRecord,
  ShardStates,
  SinkRecord,
  SourceRecord,
  StateView,
  TaskRecord,
} from '../../statemachine/index.ts';
import type { ExecutorObservation, SchedulerEvent } from '../ports.ts';

export interface PlannerConfig {
  /** Silence after which an executor gets no new work, and after which its session ends; milliseconds. */
  readonly suspectMs: number;
  readonly sessionMs: number;
  /** How long a version may run; each failed attempt of the task adds as much again. */
  readonly taskDeadlineMs: number;
  /** How much longer for each thousand change rows of its windows, and of rows of its result so far. */
  readonly taskThousandRowsMs: number;
  /** How long a report's first contribution from row states may run: how many rows it has, nobody knows. */
  readonly firstTaskDeadlineMs: number;
  readonly prepareDeadlineMs: number;
  /** How long a grant of row states may take more than a task, for each thousand change rows. */
  readonly statesThousandRowsMs: number;
  /** How long one try to reconcile a report database may take. */
  readonly reconcileDeadlineMs: number;
  /** How often each report database is asked whether it still stands under its epoch. */
  readonly probeMs: number;
  /** What a heartbeat does not list this long after it was sent is sent again. */
  readonly resendAfterMs: number;
  /** So many failed versions, and the task is parked instead of granted again. */
  readonly attemptsMax: number;
  /**
   * So many failed versions, and a task whose SQL was too slow once more leaves a hole: slowness may be the
   * server's, which has that long to be quicker.
   */
  readonly slowAttemptsMax: number;
  /** Parking times: the first, then doubled up to the cap. */
  readonly parkBaseMs: number;
  readonly parkCapMs: number;
  /**
   * Delays before a source that failed is prepared or collected again: the first, then doubled up to the cap.
   */
  readonly sourceRetryBaseMs: number;
  readonly sourceRetryCapMs: number;
  /** Tasks granted to an executor at once, per slot: the second one waits there, so that no slot idles. */
  readonly tasksPerSlot: number;
  /**
   * A task that is DEAD or PARKED so long after its first grant, or after it became due again, is skipped:
   * the hole is permanent.
   */
  readonly holeRetentionMs: number;
  /** Windows behind the newest FINAL one that are not folded, unless there are very many reports. */
  readonly windowsKept: number;
  /** How long a fold, or dropping history, may take before somebody else begins again. */
  readonly housekeepingDeadlineMs: number;
  /** How many windows a span has at most. */
  readonly spanWindowsMax: number;
  /**
   * When more tasks have records, a report's oldest hole becomes permanent before its time if it holds back
   * folding of more windows than that.
   */
  readonly tasksKeptMax: number;
  readonly windowsHeldMax: number;
  readonly operationsPerRoundMax: number;
  /** No first grants while this many tasks are assigned or parked. */
  readonly tasksOpenMax: number;
}

/** Events that the planner turns into operations. */
export type Outcome = Extract<
  SchedulerEvent,
  {
    readonly type:
      | 'task-outcome'
      | 'states-outcome'
      | 'housekeeping-outcome'
      | 'prepare-outcome'
      | 'sink-failed'
      | 'sink-doubted'
      | 'collector-stopped'
      | 'executor-goodbye';
  }
>;
/** Of a report database: a try that failed, or a probe that found something. */
export type SinkOutcome = Extract<SchedulerEvent, { readonly type: 'sink-failed' | 'sink-doubted' }>;
export type TaskOutcome = Extract<SchedulerEvent, { readonly type: 'task-outcome' }>;
export type PrepareOutcome = Extract<SchedulerEvent, { readonly type: 'prepare-outcome' }>;
export type HousekeepingOutcome = Extract<SchedulerEvent, { readonly type: 'housekeeping-outcome' }>;
export type StatesOutcome = Extract<SchedulerEvent, { readonly type: 'states-outcome' }>;

/** When and to whom something was sent under a token by this leader. */
export interface Sent {
  readonly executorId: number;
  readonly atMs: number;
}

/**
 * Failures in a row of a source's prepare or collector. They count as long as no window is sealed after them.
 */
export interface SourceFailures {
  readonly count: number;
  /** Whose the last one was. */
  readonly executorId: number;
  /** The last sealed window at that time. */
  readonly lastWindow: number;
}

/** Tries in a row to reconcile a report database that failed. */
export interface SinkFailures {
  readonly count: number;
  readonly executorId: number;
}

/**
 * What this leader remembers beside the log. It begins empty with each term, and nothing right depends on it.
 */
export interface PlannerMemory {
  readonly term: number;
  readonly leaderSinceMs: number;
  /** By token, what this leader has sent: task versions, prepare grants, collector epochs, row states. */
  readonly sent: ReadonlyMap<string, Sent>;
  readonly sourceFailures: ReadonlyMap<number, SourceFailures>;
  /** By report database: failed tries in a row, and who made the last one. */
  readonly sinkFailures: ReadonlyMap<number, SinkFailures>;
  /** By report database: when it was probed last. */
  readonly probed: ReadonlyMap<number, number>;
  /** When an executor without a stream was first met by this leader. */
  readonly firstMissedMs: ReadonlyMap<number, number>;
  /** When the brake on mass reassignment was pulled. */
  readonly brakeSinceMs: number | undefined;
}

export interface PlanInput {
  readonly view: StateView;
  readonly executors: ReadonlyMap<number, ExecutorObservation>;
  readonly now: { readonly monotonicMs: number; readonly logTimeMs: number };
  readonly outcomes: readonly Outcome[];
  readonly memory: PlannerMemory;
  readonly config: PlannerConfig;
}

/** Why an operation is proposed; counted. */
export type Cause =
  | 'fold-granted'
  | 'folded'
  | 'drop-granted'
  | 'dropped'
  | 'housekeeping-failed'
  | 'report-granted'
  | 'report-finished'
  | 'copies-lost'
  | 'span-opened'
  | 'first-grant'
  | 'woken'
  | 'failed'
  | 'fenced'
  | 'hung'
  | 'executor-gone'
  | 'sink-epoch'
  | 'dead'
  | 'skipped'
  | 'finished'
  | 'parked'
  | 'executor-expired'
  | 'executor-left'
  | 'sink-granted'
  | 'sink-failed'
  | 'prepare-granted'
  | 'prepare-finished'
  | 'collector-granted'
  | 'collector-takeover'
  | 'collector-stopped'
  | 'windows-lost'
  | 'states-granted'
  | 'states-taken-over'
  | 'states-finished'
  | 'states-failed'
  | 'states-reset';

export interface PlannedOperation {
  readonly operation: Operation;
  readonly cause: Cause;
  /** The version that this one replaces: its executor is told to stop it. */
  readonly replaces?: { readonly executorId: number; readonly key: string; readonly token: string };
  /** The grant of folding, dropping or preparing that this one replaces: its executor is told to stop it. */
  readonly replacesChore?: { readonly executorId: number; readonly token: string };
  /** The grant of row states that this one replaces: its executor is told to stop it. */
  readonly replacesStates?: {
    readonly executorId: number;
    readonly sourceId: number;
    readonly shard: string;
    readonly token: string;
  };
  /** What this operation, once committed, adds to the report database's failures. */
  readonly sinkFailure?: { readonly sinkId: number; readonly failures: SinkFailures };
  /** What this operation, once committed, adds to the source's failures. */
  readonly sourceFailure?: { readonly sourceId: number; readonly failures: SourceFailures };
  /** The collector that this operation ends, unless its answer says that its grant is kept. */
  readonly replacesCollector?: {
    readonly executorId: number;
    readonly sourceId: number;
    readonly epoch: string;
  };
}

/** Work that is granted and committed already, to be sent to its executor now. */
export type Dispatch =
  | { readonly kind: 'task'; readonly executorId: number; readonly task: TaskRecord }
  | { readonly kind: 'fold'; readonly executorId: number; readonly report: ReportRecord }
  | { readonly kind: 'drop'; readonly executorId: number; readonly source: SourceRecord }
  | {
      readonly kind: 'states';
      readonly executorId: number;
      readonly source: SourceRecord;
      readonly states: ShardStates;
    }
  | { readonly kind: 'reconcile'; readonly executorId: number; readonly sink: SinkRecord }
  | { readonly kind: 'probe'; readonly executorId: number; readonly sink: SinkRecord }
  | { readonly kind: 'report'; readonly executorId: number; readonly report: ReportRecord }
  | { readonly kind: 'prepare'; readonly executorId: number; readonly source: SourceRecord }
  | { readonly kind: 'collector'; readonly executorId: number; readonly source: SourceRecord };

export interface Plan {
  readonly operations: readonly PlannedOperation[];
  readonly dispatches: readonly Dispatch[];
  /** Outcomes that could not be acted on yet; they are to be handed in again. */
  readonly waiting: readonly Outcome[];
  /** Outcomes of versions and epochs that are not current any more. */
  readonly stale: readonly Outcome[];
  readonly firstMissedMs: ReadonlyMap<number, number>;
  readonly brakeSinceMs: number | undefined;
}
