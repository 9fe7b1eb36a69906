/** All executor streams of this leader, and the scheduler's way to send work on them. */
import { LIMITS, TidemarkError, parseToken, type Clock } from '../../base/index.ts';
import type { Logger } from '../../ops/index.ts';
import type { ExecutorObservation, ExecutorPort } from '../../scheduler/index.ts';
import {
  idKey,
  type ReportRecord,
  type ShardStates,
  type SinkRecord,
  type SourceRecord,
  type StateView,
  type TaskRecord,
} from '../../statemachine/index.ts';
import type { Definition, Task } from '../../wire/index.ts';
import type { ExecutorLink, Send } from './executor-link.ts';
import { dropWork, foldWork } from './housekeeping-messages.ts';
import { reportWork } from './report-work.ts';
import { probeWork, reconcileWork } from './sink-work.ts';
import { collectorWork, prepareWork, statesWork, taskWork, type WorkContext } from './work-messages.ts';

export interface ExecutorLinksOptions {
  readonly view: () => StateView;
  readonly clusterId: string;
  readonly clock: Clock;
  /** Milliseconds that executors are told the present try of a task may take. */
  readonly taskTimeMs: (task: TaskRecord) => number;
  readonly log: Logger;
}

export class ExecutorLinks implements ExecutorPort {
  readonly #options: ExecutorLinksOptions;
  readonly #links = new Map<number, ExecutorLink>();

  constructor(options: ExecutorLinksOptions) {
    this.#options = options;
  }

  /** Takes a new stream in. An older one of the same executor ends: the newer wins. */
  add(link: ExecutorLink): void {
    const older = this.#links.get(link.executorId);
    this.#links.set(link.executorId, link);
    older?.end({ error: new TidemarkError('CANCELLED', 'the executor has opened a newer stream') });
  }

  view(): StateView {
    return this.#options.view();
  }

  get(executorId: number): ExecutorLink | undefined {
    return this.#links.get(executorId);
  }

  /** Links whose stream is open and not silent, the least busy first. */
  live(): ExecutorLink[] {
    const heardAfter = this.#options.clock.monotonicMs() - LIMITS.executorSuspectMs;
    const open = this.connected().filter((link) => link.lastHeartbeatMs >= heardAfter);
    return open.sort(
      (one, other) => one.running.size - other.running.size || one.executorId - other.executorId,
    );
  }

  connected(): ExecutorLink[] {
    return [...this.#links.values()].filter((link) => link.connected);
  }

  /** Ends every stream: this node leads no more. */
  redirectAll(redirect: Send): void {
    for (const link of this.#links.values()) link.end({ redirect });
    this.#links.clear();
  }

  /** Ends streams of executors that the log no longer knows; they register again as new ones. */
  dropExpired(): void {
    const { executors } = this.#options.view();
    for (const [id, link] of this.#links) {
      if (executors.get(idKey(id)) !== undefined) continue;
      this.#links.delete(id);
      const error = new TidemarkError(
        'SESSION_EXPIRED',
        `executor ${id} was given up; its work went to others`,
      );
      link.end({ error });
    }
  }

  observe(): ReadonlyMap<number, ExecutorObservation> {
    return new Map([...this.#links].map(([id, link]) => [id, link.observation()]));
  }

  dispatchTasks(
    executorId: number,
    tasks: readonly TaskRecord[],
    superseded: ReadonlyMap<string, readonly string[]>,
  ): void {
    const link = this.#links.get(executorId);
    if (link === undefined) return;
    const context = this.#context(link);
    const definitions: Definition[] = [];
    const messages: Task[] = [];
    for (const task of tasks) {
      const work = taskWork(context, task, superseded.get(task.key) ?? []);
      if (work === undefined) continue;
      definitions.push(...work.definitions);
      messages.push(work.message);
    }
    link.define(definitions);
    for (let from = 0; from < messages.length; from += LIMITS.tasksPerDispatchMax) {
      const part = messages.slice(from, from + LIMITS.tasksPerDispatchMax);
      link.send({ $case: 'dispatch', value: { tasks: part } });
    }
  }

  cancelTask(executorId: number, task: { readonly key: string; readonly token: string }): void {
    const value = { task: task.key, token: parseToken(task.token) };
    this.#links.get(executorId)?.send({ $case: 'cancel', value });
  }

  dispatchStates(executorId: number, source: SourceRecord, states: ShardStates): void {
    const link = this.#links.get(executorId);
    if (link === undefined) return;
    const work = statesWork(this.#context(link), source, states);
    if (work === undefined) return;
    link.define(work.definitions);
    link.send({ $case: 'advanceStates', value: work.message });
  }

  cancelStates(
    executorId: number,
    states: { readonly sourceId: number; readonly shard: string; readonly token: string },
  ): void {
    const { sourceId, shard, token } = states;
    const value = { sourceId: BigInt(sourceId), shard, token: parseToken(token) };
    this.#links.get(executorId)?.send({ $case: 'cancelStates', value });
  }

  fold(executorId: number, report: ReportRecord): void {
    const link = this.#links.get(executorId);
    if (link === undefined) return;
    const work = foldWork(this.#context(link), report);
    if (work === undefined) return;
    link.define(work.definitions);
    link.send({ $case: 'fold', value: work.message });
  }

  dropHistory(executorId: number, source: SourceRecord): void {
    const link = this.#links.get(executorId);
    if (link === undefined) return;
    const work = dropWork(this.#context(link), source);
    if (work === undefined) return;
    link.define(work.definitions);
    link.send({ $case: 'dropHistory', value: work.message });
  }

  cancelChore(executorId: number, { token }: { readonly token: string }): void {
    this.#links.get(executorId)?.send({ $case: 'cancelChore', value: { token: parseToken(token) } });
  }

  reconcile(executorId: number, sink: SinkRecord): void {
    const link = this.#links.get(executorId);
    const work = link === undefined ? undefined : reconcileWork(this.#context(link), sink);
    if (work === undefined) return;
    link?.define(work.definitions);
    link?.send({ $case: 'reconcile', value: work.message });
    this.#options.log.info(
      { database: sink.name, executor: executorId, epoch: sink.epoch },
      'fresh sink epoch',
    );
  }

  probe(executorId: number, sink: SinkRecord): void {
    const link = this.#links.get(executorId);
    const work = link === undefined ? undefined : probeWork(this.#context(link), sink);
    if (work === undefined) return;
    link?.define(work.definitions);
    link?.send({ $case: 'probeSink', value: work.message });
  }

  prepare(executorId: number, source: SourceRecord): void {
    const link = this.#links.get(executorId);
    if (link === undefined) return;
    const work = prepareWork(this.#context(link), source);
    if (work === undefined) return;
    link.define(work.definitions);
    link.send({ $case: 'prepare', value: work.message });
    this.#options.log.info({ source: source.name, executor: executorId }, 'preparing tables');
  }

  changeReport(executorId: number, report: ReportRecord): void {
    const link = this.#links.get(executorId);
    if (link === undefined) return;
    const work = reportWork(this.#context(link), report);
    if (work === undefined) return;
    link.define(work.definitions);
    link.send({ $case: 'prepare', value: work.message });
    const { name, generation, phase } = report;
    this.#options.log.info({ report: name, generation, phase, executor: executorId }, 'changing a report');
  }

  startCollector(executorId: number, source: SourceRecord): void {
    const link = this.#links.get(executorId);
    if (link === undefined) return;
    const work = collectorWork(this.#context(link), source);
    if (work === undefined) return;
    link.define(work.definitions);
    link.send({ $case: 'startCollector', value: work.message });
    link.collecting.add(work.message.epoch.toString());
    const epoch = work.message.epoch.toString();
    this.#options.log.info({ source: source.name, executor: executorId, epoch }, 'collector started');
  }

  stopCollector(executorId: number, collector: { readonly sourceId: number; readonly epoch: string }): void {
    const link = this.#links.get(executorId);
    if (link === undefined) return;
    const value = { sourceId: BigInt(collector.sourceId), epoch: parseToken(collector.epoch) };
    link.send({ $case: 'stopCollector', value });
    link.collecting.delete(collector.epoch);
  }

  #context(link: ExecutorLink): WorkContext {
    const { view, clusterId, taskTimeMs } = this.#options;
    return { view: view(), leaderTerm: link.term, clusterId, taskTimeMs };
  }
}
