/**
 * What an operation changes: the tables of the view, with writes. Synchronous, in memory, without side
 * effects.
 */
import type { KeyValueView, TableView } from '../view.ts';
import type {
  ClusterRecord,
  ExecutorRecord,
  KeyValueRecord,
  ReportRecord,
  SessionRecord,
  SinkRecord,
  SourceRecord,
  SpanRecord,
  TaskRecord,
  TopologyRecord,
  WindowRecord,
} from './records.ts';

export interface TableWriter<R> extends TableView<R> {
  put(key: string, row: R): void;
  delete(key: string): void;
}

export type KeyValueWriter = KeyValueView & TableWriter<KeyValueRecord>;

export interface StateWriter {
  readonly cluster: ClusterRecord;
  readonly topology: TopologyRecord | undefined;
  readonly sessions: TableWriter<SessionRecord>;
  readonly executors: TableWriter<ExecutorRecord>;
  readonly sinks: TableWriter<SinkRecord>;
  readonly sources: TableWriter<SourceRecord>;
  readonly reports: TableWriter<ReportRecord>;
  readonly windows: TableWriter<WindowRecord>;
  readonly spans: TableWriter<SpanRecord>;
  readonly tasks: TableWriter<TaskRecord>;
  readonly keyValues: KeyValueWriter;
  /** Bytes of all keys and values of `keyValues`. */
  readonly keyValueBytes: number;
  readonly openTasks: TableView<TaskRecord>;
  setCluster(cluster: ClusterRecord): void;
  setTopology(topology: TopologyRecord): void;
}
