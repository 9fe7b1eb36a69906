/**
 * A synchronous, read-only look at the replicated state as of one applied index. It is live: what it shows
 * changes with the next applied group, so nothing read from it may be relied on after an await.
 */
import type {
  ClusterRecord,
  ExecutorRecord,
  KeyValueRecord,
  KeyValueStanding,
  ReportRecord,
  SessionRecord,
  SinkRecord,
  SourceRecord,
  SpanRecord,
  TaskRecord,
  TopologyRecord,
  WindowRecord,
} from './commands/records.ts';

/**
 * Rows of one table by key, iterated in key order (byte order of the key's text). Keys are made by keys.ts.
 */
export interface TableView<R> {
  get(key: string): R | undefined;
  values(): IterableIterator<R>;
  /** Rows whose key begins with `prefix`, in key order. */
  withPrefix(prefix: string): IterableIterator<R>;
  readonly size: number;
}

export interface TasksView extends TableView<TaskRecord> {
  /** Rows whose key is `key` or comes behind it, in key order. */
  valuesFrom(key: string): IterableIterator<TaskRecord>;
  /** All rows, against key order. */
  valuesBack(): IterableIterator<TaskRecord>;
}

export interface KeyValueView extends TableView<KeyValueRecord> {
  /** Costs less than `get`, which copies the value. */
  standing(key: string): KeyValueStanding | undefined;
}

/**
 * Tables and their keys. Numbers in keys are written so that byte order is number order (see keys.ts).
 * Tasks, also finished ones, are kept as long as their span: until it was folded away and a later fold is
 * done (`ReportRecord.droppedWindow`). Windows are kept as long as a report may read them
 * (`SourceRecord.horizon`).
 */
export interface StateView {
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  readonly cluster: ClusterRecord;
  readonly sessions: TableView<SessionRecord>;
  readonly executors: TableView<ExecutorRecord>;
  readonly topology: TopologyRecord | undefined;
  readonly sinks: TableView<SinkRecord>;
  readonly sources: TableView<SourceRecord>;
  readonly reports: TableView<ReportRecord>;
  readonly windows: TableView<WindowRecord>;
  /** By report, generation and first window. */
  readonly spans: TableView<SpanRecord>;
  readonly tasks: TasksView;
  /** Keys of clients, by `namespace/key`. */
  readonly keyValues: KeyValueView;
  /** Derived: tasks that are ASSIGNED or PARKED, oldest window first. */
  readonly openTasks: TasksView;
  /** Derived: how many tasks are ASSIGNED to an executor. */
  assignedTo(executorId: number): number;
  /** Derived: tasks that are DEAD, oldest window first. */
  readonly deadTasks: TasksView;
  /** Derived: tasks whose ledger holds a hole, oldest window first. */
  readonly holeTasks: TableView<TaskRecord>;
  /** Derived: spans with unfinished parts, and those with parts that were never granted. */
  readonly openSpans: TableView<SpanRecord>;
  readonly pendingSpans: TableView<SpanRecord>;
  /**
   * 16 hex digits: the order-free sum of a hash of every live key and value; a function of the applied index
   * alone.
   */
  readonly digest: string;
}
