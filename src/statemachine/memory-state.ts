/**
 * The replicated state in memory: sorted tables of decoded records that `apply` and the planner read, which
 * rows have changed since the last batch, and the digest. It knows no disk: the simulator uses it as it is.
 */
import { mutated, TidemarkError } from '../base/index.ts';
import { SINGLE_KEY } from './commands/keys.ts';
import type {
  ClusterRecord,
  ExecutorRecord,
  ReportRecord,
  SessionRecord,
  SinkRecord,
  SourceRecord,
  SpanRecord,
  TaskRecord,
  TopologyRecord,
  WindowRecord,
} from './commands/records.ts';
import type { StateWriter } from './commands/writer.ts';
import { KeyValueTable, KEY_VALUE_PREFIX, type KeyValueParts } from './key-values/key-value-table.ts';
import { decodeRow, encodeRow, type RowChange } from './row-codec.ts';
import { HashSum } from './row-hash.ts';
import { SortedTable } from './sorted-table.ts';
import { TrackedTable } from './tracked-table.ts';
import type { StateView, TableView, TasksView } from './view.ts';

const EMPTY_CLUSTER: ClusterRecord = {
  featureLevel: 1,
  logTimeMs: 0,
  wallMs: 0,
  grants: 0,
  ids: { session: 0, executor: 0, source: 0, sink: 0, report: 0 },
};

export class MemoryState implements StateWriter, StateView {
  appliedIndex = 0;
  appliedTerm = 0;

  readonly #openTasks = new SortedTable<TaskRecord>();
  /** By executor, how many tasks it has. */
  readonly #assigned = new Map<number, number>();
  readonly #deadTasks = new SortedTable<TaskRecord>();
  readonly #holeTasks = new SortedTable<TaskRecord>();
  readonly #openSpans = new SortedTable<SpanRecord>();
  readonly #pendingSpans = new SortedTable<SpanRecord>();
  readonly #cluster = new TrackedTable<ClusterRecord>('cluster');
  readonly #topology = new TrackedTable<TopologyRecord>('topology');
  readonly sessions = new TrackedTable<SessionRecord>('session');
  readonly executors = new TrackedTable<ExecutorRecord>('executor');
  readonly sinks = new TrackedTable<SinkRecord>('sink');
  readonly sources = new TrackedTable<SourceRecord>('source');
  readonly reports = new TrackedTable<ReportRecord>('report');
  readonly windows = new TrackedTable<WindowRecord>('window');
  readonly spans = new TrackedTable<SpanRecord>('span', (key, span) => {
    keepIf(this.#openSpans, key, span, (row) => row.open > 0);
    keepIf(this.#pendingSpans, key, span, (row) => row.granted < row.parts);
  });
  readonly tasks = new TrackedTable<TaskRecord>('task', (key, task, before) => {
    this.#countAssigned(before, -1);
    this.#countAssigned(task, 1);
    keepIf(this.#openTasks, key, task, ({ state }) => state === 'ASSIGNED' || state === 'PARKED');
    keepIf(this.#deadTasks, key, task, ({ state }) => state === 'DEAD');
    keepIf(this.#holeTasks, key, task, ({ hole }) => hole);
  });

  readonly keyValues: KeyValueTable;

  readonly #tables: readonly TrackedTable<object>[] = [
    this.#cluster,
    this.#topology,
    this.sessions,
    this.executors,
    this.sinks,
    this.sources,
    this.reports,
    this.windows,
    this.spans,
    this.tasks,
  ] as unknown as readonly TrackedTable<object>[];

  /** Of the rows of all tables but that of keys and values. */
  readonly #sum = new HashSum();
  #digest = this.#sum.text;

  /** @param keyValues what the table of keys and values is made of, to begin with */
  constructor(keyValues?: KeyValueParts) {
    this.keyValues = new KeyValueTable(keyValues);
    this.#digest = this.sum.text;
  }

  get cluster(): ClusterRecord {
    return this.#cluster.get(SINGLE_KEY) ?? EMPTY_CLUSTER;
  }

  get topology(): TopologyRecord | undefined {
    return this.#topology.get(SINGLE_KEY);
  }

  get openTasks(): TasksView {
    return this.#openTasks;
  }

  assignedTo(executorId: number): number {
    return this.#assigned.get(executorId) ?? 0;
  }

  #countAssigned(task: TaskRecord | undefined, by: 1 | -1): void {
    if (task?.state !== 'ASSIGNED') return;
    const count = this.assignedTo(task.executorId) + by;
    if (count > 0) this.#assigned.set(task.executorId, count);
    else this.#assigned.delete(task.executorId);
  }

  get deadTasks(): TasksView {
    return this.#deadTasks;
  }

  get holeTasks(): TableView<TaskRecord> {
    return this.#holeTasks;
  }

  get openSpans(): TableView<SpanRecord> {
    return this.#openSpans;
  }

  get pendingSpans(): TableView<SpanRecord> {
    return this.#pendingSpans;
  }

  get keyValueBytes(): number {
    return this.keyValues.dataBytes;
  }

  /** As of the last {@link takeChanges}. */
  get digest(): string {
    return this.#digest;
  }

  setCluster(cluster: ClusterRecord): void {
    this.#cluster.put(SINGLE_KEY, cluster);
  }

  setTopology(topology: TopologyRecord): void {
    this.#topology.put(SINGLE_KEY, topology);
  }

  /**
   * Takes what has changed since the last call, as rows to store, and brings the digest up to date. A row
   * that changed several times is in the list once. Bytes may be views: good until the next change.
   */
  takeChanges(): RowChange[] {
    const changes: RowChange[] = [];
    for (const table of this.#tables) {
      for (const key of table.dirty) {
        const change = this.#takeChange(table, key);
        if (change !== undefined) changes.push(change);
      }
      table.dirty.clear();
    }
    this.keyValues.takeChanges(changes);
    this.#digest = this.sum.text;
    return changes;
  }

  #takeChange(table: TrackedTable<object>, key: string): RowChange | undefined {
    const fullKey = `${table.name}/${key}`;
    const row = table.get(key);
    const before = table.hashes.get(key);
    if (row === undefined) {
      if (before === undefined) return undefined;
      table.hashes.delete(key);
      if (!mutated('state.digestIgnoresDeletes')) this.#sum.take(before);
      return { fullKey, bytes: undefined };
    }
    const stored = encodeRow(fullKey, row);
    if (before !== undefined) {
      if (stored.hash.high === before.high && stored.hash.low === before.low) return undefined;
      this.#sum.take(before);
    }
    this.#sum.add(stored.hash);
    table.hashes.set(key, stored.hash);
    return { fullKey, bytes: stored.bytes };
  }

  /** Sum of the rows of all tables. */
  get sum(): HashSum {
    const sum = new HashSum();
    sum.add(this.#sum.value);
    sum.add(this.keyValues.sum.value);
    return sum;
  }

  /**
   * Takes a stored row at recovery. The caller compares the digest when all rows are in.
   * @throws TidemarkError `DATA_CORRUPT` for a damaged row or one of no table, `FORMAT_UNKNOWN`.
   */
  loadRow(fullKey: string, bytes: Uint8Array): void {
    if (fullKey.startsWith(KEY_VALUE_PREFIX)) {
      this.keyValues.load(fullKey, bytes);
      return;
    }
    const { record, hash } = decodeRow(fullKey, bytes);
    const slash = fullKey.indexOf('/');
    const name = fullKey.slice(0, Math.max(0, slash));
    const table = this.#tables.find((candidate) => candidate.name === name);
    if (table === undefined || typeof record !== 'object' || record === null) {
      throw new TidemarkError('DATA_CORRUPT', `state row ${fullKey}: of no table`);
    }
    const key = fullKey.slice(slash + 1);
    table.load(key, record);
    table.hashes.set(key, hash);
    this.#sum.add(hash);
  }

  /**
   * Compares records with the hashes of what was stored of them, and those with their sum; yields after each
   * step. Keys and values are checked by their own table.
   * @throws TidemarkError `DATA_CORRUPT`.
   */
  *checkRecords(stepBytes: number): Generator<void, void, undefined> {
    for (const table of this.#tables) {
      for (let key: string | undefined = ''; key !== undefined; yield)
        key = table.checkBehind(key, stepBytes);
    }
    const sum = new HashSum();
    for (const table of this.#tables) for (const hash of table.hashes.values()) sum.add(hash);
    if (sum.text === this.#sum.text) return;
    throw new TidemarkError('DATA_CORRUPT', `rows in memory sum to ${sum.text}, not to ${this.#sum.text}`);
  }

  /** Brings the digest up to date after the last {@link loadRow}. */
  loaded(): string {
    this.#digest = this.sum.text;
    return this.#digest;
  }
}

/** Keeps a derived table in step with one row of the table that it is derived from. */
function keepIf<R>(
  derived: SortedTable<R>,
  key: string,
  row: R | undefined,
  belongs: (row: R) => boolean,
): void {
  if (row !== undefined && belongs(row)) derived.set(key, row);
  else derived.delete(key);
}
