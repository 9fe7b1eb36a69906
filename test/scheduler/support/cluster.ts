import { TidemarkError, type ErrorCode } from '../../../src/base/index.ts';
import {
  createScheduler,
  type ExecutorObservation,
  type ExecutorPort,
  type ProposePort,
  type Scheduler,
  type SchedulerConfig,
} from '../../../src/scheduler/index.ts';
import {
  LogClock,
  applyEntry,
  decodeEntry,
  decodeReplies,
  encodeEntry,
  openPrepare,
  type Operation,
  type OperationResult,
  type ShardStates,
  type HousekeepingGrant,
  type ReportRecord,
  type SinkRecord,
  type SourceRecord,
  type StateView,
  type TaskRecord,
} from '../../../src/statemachine/index.ts';
import { encodeReplies } from '../../../src/statemachine/commands/replies.ts';
import { reconciled, World } from '../../statemachine/support/world.ts';
import { VirtualClock } from './virtual-clock.ts';

const HEARTBEAT_MS = 500;

/**
 * An executor on virtual time. It answers each task after `workMs`, and can be frozen, cut off and replaced.
 */
export class FakeExecutor {
  executorId: number;
  connected = true;
  frozen = false;
  connectedSinceMs: number;
  lastHeartbeatMs: number;
  readonly running = new Map<string, TaskRecord>();
  readonly collecting = new Set<string>();
  readonly cancelled: string[] = [];

  constructor(executorId: number, nowMs: number) {
    this.executorId = executorId;
    this.connectedSinceMs = nowMs;
    this.lastHeartbeatMs = nowMs;
  }

  observation(): ExecutorObservation {
    const { executorId, connected, connectedSinceMs, lastHeartbeatMs } = this;
    const running = new Set([...this.running.values()].map((task) => task.token));
    const rows = new Map<string, number>();
    const { collecting } = this;
    return { executorId, connected, connectedSinceMs, lastHeartbeatMs, running, rows, collecting };
  }
}

/**
 * A replicated state, one scheduler that may lead it, and executors: what a coordinator gives the scheduler.
 */
export class FakeCluster implements ExecutorPort, ProposePort {
  readonly clock = new VirtualClock();
  readonly world = new World();
  readonly executors = new Map<number, FakeExecutor>();
  readonly scheduler: Scheduler;
  readonly fatal: unknown[] = [];
  /** What was proposed, entry by entry. */
  readonly proposals: (readonly Operation[])[] = [];
  /** What was sent, in order: kind and token. */
  readonly sent: { readonly kind: string; readonly executorId: number; readonly token: string }[] = [];
  probes = 0;
  readonly finished = new Map<string, string>();
  term = 0;
  workMs = 5;
  commitMs = 1;
  /** How the next proposals end instead; `lost` ones are committed all the same. */
  refusals: { readonly code: ErrorCode; readonly committed: boolean }[] = [];
  /** How often two proposals were under way at once. */
  overlaps = 0;
  #proposing = 0;
  #logClock = new LogClock(0, 0);

  constructor(config: Partial<SchedulerConfig> = {}) {
    this.scheduler = createScheduler({
      ports: { executors: this, state: this },
      clock: this.clock,
      log: { info: () => undefined, warn: () => undefined },
      config,
      onFatal: (error) => this.fatal.push(error),
    });
    this.#beat();
  }

  /** Makes this node the leader of the next term. */
  lead(): void {
    this.term += 1;
    const { logTimeMs } = this.world.state.cluster;
    this.#logClock = new LogClock(logTimeMs, this.clock.monotonicMs());
    this.scheduler.onLeader(this.term);
  }

  /** Another node leads now; this one has not noticed yet when `told` is false. */
  depose(told = true): void {
    this.term += 1;
    if (told) this.scheduler.onFollower();
  }

  addExecutor(name: string, slots = 2): FakeExecutor {
    const executor = new FakeExecutor(this.world.executor(name, slots), this.clock.monotonicMs());
    this.executors.set(executor.executorId, executor);
    return executor;
  }

  /** An executor that had expired, or whose stream had broken, dials in again. */
  reconnect(executor: FakeExecutor, name: string): void {
    executor.frozen = false;
    this.executors.delete(executor.executorId);
    const executorId = this.world.executor(name);
    if (executorId !== executor.executorId) executor.running.clear();
    executor.executorId = executorId;
    executor.connected = true;
    executor.connectedSinceMs = executor.lastHeartbeatMs = this.clock.monotonicMs();
    this.executors.set(executorId, executor);
    this.scheduler.event({ type: 'executor-changed', executorId });
  }

  // ProposePort

  view(): StateView {
    return this.world.state;
  }

  leadsIn(term: number): boolean {
    return this.term === term;
  }

  async propose(operations: readonly Operation[]): Promise<readonly OperationResult[]> {
    this.proposals.push(operations);
    this.#proposing += 1;
    if (this.#proposing > 1) this.overlaps += 1;
    const { term } = this;
    await new Promise<void>((resolve) => this.clock.after(this.commitMs, resolve));
    this.#proposing -= 1;
    if (this.term !== term) throw new TidemarkError('NOT_LEADER', 'test');
    const refusal = this.refusals.shift();
    if (refusal !== undefined && !refusal.committed) throw new TidemarkError(refusal.code, 'test');
    const results = this.commit(operations);
    if (refusal !== undefined) throw new TidemarkError(refusal.code, 'test');
    return results;
  }

  /** Commits operations as one entry of the present term. */
  commit(operations: readonly Operation[]): readonly OperationResult[] {
    const applied = this.world.state.cluster.logTimeMs;
    const logTimeMs = this.#logClock.at(this.clock.monotonicMs(), applied);
    const entry = { logTimeMs, wallMs: 1, items: [{ session: 0, sequence: 0, operations }] };
    this.world.index += 1;
    const position = { index: this.world.index, term: Math.max(1, this.term) };
    const replies = applyEntry(this.world.state, decodeEntry(encodeEntry(entry)), position);
    this.world.state.takeChanges();
    this.scheduler.event({ type: 'state-changed' });
    return decodeReplies(encodeReplies(replies))[0] ?? [];
  }

  // ExecutorPort

  observe(): ReadonlyMap<number, ExecutorObservation> {
    return new Map([...this.executors].map(([id, executor]) => [id, executor.observation()]));
  }

  dispatchTasks(executorId: number, tasks: readonly TaskRecord[]): void {
    const executor = this.executors.get(executorId);
    for (const task of tasks) {
      this.sent.push({ kind: 'task', executorId, token: task.token });
      if (executor?.connected !== true) continue;
      executor.running.set(task.key, task);
      this.#work(executor, task);
    }
  }

  cancelTask(executorId: number, task: { readonly key: string; readonly token: string }): void {
    const executor = this.executors.get(executorId);
    executor?.cancelled.push(task.token);
    if (executor?.running.get(task.key)?.token === task.token) executor.running.delete(task.key);
  }

  dispatchStates(executorId: number, source: SourceRecord, { shard, grant }: ShardStates): void {
    const { token = '', lastWindow = 0 } = grant ?? {};
    this.sent.push({ kind: 'states', executorId, token });
    this.#answer(executorId, () => {
      const outcome = {
        sourceId: source.id,
        shard,
        token,
        window: lastWindow,
        code: '',
        message: '',
      } as const;
      this.scheduler.event({ type: 'states-outcome', ...outcome });
    });
  }

  cancelStates(executorId: number, { token }: { readonly token: string }): void {
    this.executors.get(executorId)?.cancelled.push(token);
  }

  fold(executorId: number, { fold }: ReportRecord): void {
    this.#answerChore(executorId, fold);
  }

  dropHistory(executorId: number, { drop }: SourceRecord): void {
    this.#answerChore(executorId, drop);
  }

  cancelChore(executorId: number, { token }: { readonly token: string }): void {
    this.executors.get(executorId)?.cancelled.push(token);
  }

  #answerChore(executorId: number, grant: HousekeepingGrant | null): void {
    const { token = '', window = 0 } = grant ?? {};
    this.sent.push({ kind: 'chore', executorId, token });
    this.#answer(executorId, () => {
      this.scheduler.event({ type: 'housekeeping-outcome', token, window, code: '', message: '' });
    });
  }

  reconcile(executorId: number, { id, epoch }: SinkRecord): void {
    const token = epoch ?? '';
    this.sent.push({ kind: 'reconcile', executorId, token });
    this.#answer(executorId, () => {
      this.world.apply(reconciled(id, token));
      this.scheduler.event({ type: 'state-changed' });
    });
  }

  probe(): void {
    this.probes += 1;
  }

  prepare(executorId: number, source: SourceRecord): void {
    const token = openPrepare(source)?.token ?? '';
    this.sent.push({ kind: 'prepare', executorId, token });
    this.#answer(executorId, () => {
      this.scheduler.event({
        type: 'prepare-outcome',
        sourceId: source.id,
        token,
        copies: [],
        code: '',
        message: '',
      });
    });
  }

  changeReport(executorId: number, { sourceId, change }: ReportRecord): void {
    const token = change?.token ?? '';
    this.sent.push({ kind: 'report', executorId, token });
    this.#answer(executorId, () => {
      this.scheduler.event({ type: 'prepare-outcome', sourceId, token, copies: [], code: '', message: '' });
    });
  }

  startCollector(executorId: number, source: SourceRecord): void {
    const epoch = source.collector?.epoch ?? '';
    this.sent.push({ kind: 'collector', executorId, token: epoch });
    this.executors.get(executorId)?.collecting.add(epoch);
  }

  stopCollector(executorId: number, collector: { readonly epoch: string }): void {
    this.executors.get(executorId)?.collecting.delete(collector.epoch);
  }

  #work(executor: FakeExecutor, task: TaskRecord): void {
    this.#answer(executor.executorId, () => {
      if (executor.running.get(task.key)?.token !== task.token) return;
      executor.running.delete(task.key);
      this.scheduler.event({
        type: 'task-outcome',
        executorId: executor.executorId,
        key: task.key,
        version: task.version,
        token: task.token,
        result: task.purpose === 'merge' ? 'DONE' : 'RETRACTED',
        code: '',
        message: '',
      });
    });
  }

  /** Runs after the executor's working time, unless it is frozen or cut off by then. */
  #answer(executorId: number, run: () => void): void {
    this.clock.after(this.workMs, () => {
      const executor = this.executors.get(executorId);
      if (executor?.connected === true && !executor.frozen) run();
    });
  }

  #beat(): void {
    for (const executor of this.executors.values()) {
      if (executor.connected && !executor.frozen) executor.lastHeartbeatMs = this.clock.monotonicMs();
    }
    this.clock.after(HEARTBEAT_MS, () => {
      this.#beat();
    });
  }
}
