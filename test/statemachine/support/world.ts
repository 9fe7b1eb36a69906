import {
  applyOperation,
  idKey,
  marksOf,
  MemoryState,
  taskRowKeyOf,
  windowKey,
  type DeclareJob,
  type Operation,
  type OperationResult,
  type ReportRecord,
  type SealWindow,
  type SourceRecord,
  type TaskRecord,
  type WindowRecord,
  type WindowState,
} from '../../../src/statemachine/index.ts';

type Value = Readonly<Record<string, string | number | boolean | Uint8Array>>;

/** A replicated state in memory, driven operation by operation, each as an entry of its own. */
export class World {
  readonly state = new MemoryState();
  term = 1;
  logTimeMs = 1_000;
  index = 0;

  apply(operation: Operation): OperationResult {
    this.index += 1;
    const meta = { index: this.index, term: this.term, logTimeMs: this.logTimeMs };
    const result = applyOperation(this.state, operation, meta);
    this.state.takeChanges();
    return result;
  }

  /** Applies an operation that must be accepted. */
  accept(operation: Operation): Value {
    const result = this.apply(operation);
    if (!result.ok) throw new Error(`${operation.type} was refused: ${result.code} ${result.message}`);
    return result.value;
  }

  /** Applies an operation that must be refused and change nothing; answers its code. */
  refuse(operation: Operation): string {
    const before = this.state.digest;
    const result = this.apply(operation);
    if (result.ok) throw new Error(`${operation.type} was accepted`);
    if (this.state.digest !== before) throw new Error(`${operation.type} was refused and changed the state`);
    return result.code;
  }

  executor(name: string, slots = 4): number {
    const registered = this.accept({
      type: 'executor.register',
      v: 1,
      name,
      incarnation: `${name}-1`,
      slots,
      version: '0',
      engines: ['embedded'],
    });
    return registered['executorId'] as number;
  }

  source(id = 1): SourceRecord {
    const source = this.state.sources.get(idKey(id));
    if (source === undefined) throw new Error(`no source ${id}`);
    return source;
  }

  window(window: number, source = 1): WindowRecord | undefined {
    return this.state.windows.get(windowKey(source, window));
  }

  task(key: string): TaskRecord {
    const task = this.state.tasks.get(taskRowKeyOf(key));
    if (task === undefined) throw new Error(`no task ${key}`);
    return task;
  }

  /** Brings source 1 to a running collector on executor `executorId`; answers its epoch. */
  collect(executorId: number, sourceId = 1): string {
    const sink = this.source(sourceId).sinkId;
    if (this.state.sinks.get(idKey(sink))?.reconciled === false) this.reconcile(executorId, sink);
    if (this.source(sourceId).prepare?.done !== true) {
      const granted = this.accept({ type: 'prepare.grant', v: 1, sourceId, executorId });
      this.accept(prepared(sourceId, granted['token'] as string));
    }
    return this.accept({ type: 'collector.grant', v: 1, sourceId, executorId })['epoch'] as string;
  }

  /**
   * Puts a report database under a fresh epoch, where `lacking` is found not to be there; answers the epoch.
   */
  reconcile(executorId: number, sinkId = 1, lacking: readonly string[] = []): string {
    const epoch = this.accept({ type: 'sink.grant', v: 1, sinkId, executorId })['epoch'] as string;
    this.accept(reconciled(sinkId, epoch, lacking));
    return epoch;
  }

  /** Seals the next window of a source under its current epoch. */
  seal(sourceId = 1): number {
    const source = this.source(sourceId);
    const window = source.lastWindow + 1;
    this.accept(sealOf(source, window));
    return window;
  }

  report(id = 1): ReportRecord {
    const report = this.state.reports.get(idKey(id));
    if (report === undefined) throw new Error(`no report ${id}`);
    return report;
  }

  /** SEALED, MERGED or FINAL, as it is shown. */
  windowState(window: number, source = 1): WindowState {
    const { merged, final } = marksOf(this.state, this.source(source));
    return window <= final ? 'FINAL' : window <= merged ? 'MERGED' : 'SEALED';
  }

  /** Opens the next spans of a report, one window each, up to this window. */
  openTo(window: number, report = 1): void {
    for (let next = this.report(report).nextWindow; next <= window; next++) {
      this.accept(spanOf({ report, window: next }));
    }
  }

  /**
   * Grants version `version` of a task of source 1's report; the first version opens the span of that window
   * alone, and those before it.
   */
  grant(input: GrantInput): TaskRecord {
    this.openTo(input.window, input.report);
    const value = this.accept(grantOf(input));
    return this.task(value['key'] as string);
  }
}

export function spanOf(input: {
  readonly window: number;
  readonly last?: number;
  readonly report?: number;
  readonly generation?: number;
}): Extract<Operation, { type: 'span.open' }> {
  return {
    type: 'span.open',
    v: 1,
    reportId: input.report ?? 1,
    generation: input.generation ?? 1,
    firstWindow: input.window,
    lastWindow: input.last ?? input.window,
  };
}

export interface GrantInput {
  readonly window: number;
  readonly executorId: number;
  readonly report?: number;
  readonly version?: number;
  readonly part?: number;
  readonly purpose?: TaskRecord['purpose'];
  readonly failedAttempt?: boolean;
  readonly generation?: number;
  readonly last?: number;
}

export function grantOf(input: GrantInput): Extract<Operation, { type: 'task.grant' }> {
  return {
    type: 'task.grant',
    v: 1,
    reportId: input.report ?? 1,
    generation: input.generation ?? 1,
    firstWindow: input.window,
    lastWindow: input.last ?? input.window,
    part: input.part ?? 0,
    version: input.version ?? 1,
    executorId: input.executorId,
    purpose: input.purpose ?? 'merge',
    reason: '',
    failedAttempt: input.failedAttempt ?? false,
  };
}

export function finishOf(
  task: TaskRecord,
  state: 'DONE' | 'DEAD' | 'SKIPPED' | 'CANCELLED' = 'DONE',
): Operation {
  return { type: 'task.finish', v: 1, key: task.key, version: task.version, token: task.token, state };
}

/** What every prepare of these tests says of the first report's copies. */
export const COPY = { table: 'merchants', rows: 2, checksum: '0123456789abcdef' };

export function prepared(sourceId: number, token: string): Operation {
  return {
    type: 'prepare.finish',
    v: 1,
    sourceId,
    token,
    copies: [{ reportId: 1, generation: 1, copies: [COPY], lost: false }],
    errorCode: '',
    errorMessage: '',
    retryAfterMs: 0,
  };
}

export function reconciled(sinkId: number, epoch: string, lacking: readonly string[] = []): Operation {
  return { type: 'sink.reconcile', v: 1, sinkId, epoch, lacking, missing: [], folds: [], last: true };
}

export function sealOf(source: SourceRecord, window: number, change: Partial<SealWindow> = {}): SealWindow {
  return {
    type: 'window.seal',
    v: 1,
    sourceId: source.id,
    window,
    epoch: source.collector?.epoch ?? '1',
    from: source.position,
    to: `p${window}`,
    cursor: '',
    day: '2026-01-01',
    coversMs: window,
    topologyVersion: 1,
    schemaVersions: [{ table: 'orders', version: 1 }],
    shards: [{ shard: 's1', rows: 3, checksum: '00' }],
    ...change,
  };
}

/** A topology of shards that hold the slots which their own name stands for, each with one database. */
export function topologyOf(...names: readonly string[]): DeclareJob['topology'] {
  const shards = names.map((name) => ({ name, slots: name, members: [name] }));
  return { spec: JSON.stringify({ shards }), shards };
}

/** A job with one store shard, one report database, and one source per entry of `reports`. */
export function jobOf(
  reports: Readonly<Record<string, readonly string[]>> = { shop: ['sales'] },
  change: Partial<DeclareJob> = {},
): DeclareJob {
  const sources = Object.keys(reports);
  return {
    type: 'job.declare',
    v: 1,
    topology: topologyOf('s1'),
    sinks: [{ name: 'main', spec: '{}', members: ['main'] }],
    sources: sources.map((name) => ({
      name,
      spec: '{"tables":[]}',
      captured: ['here', 'orders'],
      begins: ['at orders'],
      keptTables: 1,
      kept: '{"tables":[]}',
      sink: 'main',
    })),
    reports: sources.flatMap((source) =>
      (reports[source] ?? []).map((name) => ({
        name,
        spec: `{"name":"${name}"}`,
        specHash: 'h1',
        source,
        sink: 'main',
        parts: 1,
        readsStates: false,
        paused: false,
      })),
    ),
    ...change,
  };
}

/** A job on two store shards, whose report reads row states. */
export function jobWithStates(): DeclareJob {
  const job = jobOf({ shop: ['sales'] }, { topology: topologyOf('s1', 's2') });
  return { ...job, reports: job.reports.map((report) => ({ ...report, readsStates: true })) };
}

/** A world with a job, one executor (id 1) and a collector of source 1 on it. */
export function runningWorld(job: DeclareJob = jobOf()): World {
  const world = new World();
  world.executor('one');
  world.accept(job);
  world.collect(1);
  return world;
}
