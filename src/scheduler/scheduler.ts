/**
 * The loop around the planner. It runs on the leader only. Each round plans, sends what is committed, and
 * proposes what was planned in one entry, one proposal in flight; what that entry grants is sent by the
 * next round. After every await it asks again whether this node still leads in the same term.
 */
import {
  failpoint,
  isTidemarkError,
  LIMITS,
  must,
  mutated,
  parseToken,
  tokenTerm,
  type Clock,
  type ErrorCode,
} from '../base/index.ts';
import {
  idKey,
  openPrepare,
  taskKey,
  taskRowKey,
  type OperationResult,
  type TaskRecord,
} from '../statemachine/index.ts';
import { SCHEDULER_DEFAULTS, type SchedulerConfig } from './config.ts';
import { countAccepted, newCounters, type SchedulerCounters } from './counters.ts';
import { Leadership } from './leadership.ts';
import { plan } from './planner/plan.ts';
import type { Cause, Dispatch, Outcome, Plan, PlannedOperation } from './planner/types.ts';
import type { ExecutorPort, ProposePort, SchedulerEvent } from './ports.ts';

export interface SchedulerLogger {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

export interface SchedulerOptions {
  readonly ports: { readonly executors: ExecutorPort; readonly state: ProposePort };
  readonly clock: Clock;
  readonly log: SchedulerLogger;
  readonly config?: Partial<SchedulerConfig>;
  /** Called for a failure of the scheduler's own. The process must end. */
  readonly onFatal: (error: unknown) => void;
}

export interface Scheduler {
  /** Begins to schedule; called when this node leads in `term` and its own no-op is applied. */
  onLeader(term: number): void;
  /** Ends scheduling; called when this node does not lead any more. */
  onFollower(): void;
  /** Takes note of an event; ignored on a node that does not lead. */
  event(event: SchedulerEvent): void;
  /** Ends scheduling for good; resolves when no round runs any more. */
  stop(): Promise<void>;
  readonly counters: Readonly<SchedulerCounters>;
}

/** Outcomes that wait for a round are bounded; beyond it the oldest is dropped and its work is sent again. */
const OUTCOMES_MAX = 65_536;

/** Refusals of a proposal after which the loop tries again; leadership, if lost, is told by `onFollower`. */
const TRY_AGAIN: readonly ErrorCode[] = [
  'NOT_LEADER',
  'NO_LEADER',
  'OUTCOME_UNKNOWN',
  'OVERLOADED',
  'LOG_FULL',
  'STOPPING',
];

/** What happens all the time, and is not worth a line each. */
const USUAL: ReadonlySet<Cause> = new Set<Cause>([
  'span-opened',
  'fold-granted',
  'folded',
  'drop-granted',
  'dropped',
  'first-grant',
  'finished',
  'states-granted',
  'states-finished',
]);

export function createScheduler(options: SchedulerOptions): Scheduler {
  return new LeaderScheduler(options);
}

class LeaderScheduler implements Scheduler {
  readonly counters = newCounters();
  readonly #options: SchedulerOptions;
  readonly #config: SchedulerConfig;
  #leadership: Leadership | undefined;
  #stopped = false;
  #rounds: Promise<void> = Promise.resolve();

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#config = { ...SCHEDULER_DEFAULTS, ...options.config };
  }

  onLeader(term: number): void {
    if (this.#stopped || this.#leadership?.term === term) return;
    this.onFollower();
    const { clock, ports, log } = this.#options;
    const { logTimeMs } = ports.state.view().cluster;
    this.#leadership = new Leadership(term, clock.monotonicMs(), logTimeMs);
    log.info({ term }, 'scheduling begins');
    this.#wake(this.#leadership, 0);
  }

  onFollower(): void {
    const leadership = this.#leadership;
    if (leadership === undefined) return;
    leadership.wakeUp?.();
    this.#leadership = undefined;
    this.#options.log.info({ term: leadership.term }, 'scheduling ends');
  }

  event(event: SchedulerEvent): void {
    const leadership = this.#leadership;
    if (leadership === undefined) return;
    if (event.type !== 'state-changed' && event.type !== 'executor-changed') {
      if (event.type === 'task-outcome' && event.result === 'FENCED') this.counters.outcomesFenced += 1;
      leadership.outcomes.push(event);
      if (leadership.outcomes.length > OUTCOMES_MAX) leadership.outcomes.shift();
    }
    if (this.#mayWait(leadership, event)) return;
    this.#wake(leadership, this.#config.coalesceMs);
  }

  /**
   * Whether the next tick is soon enough: a task is done, and its executor has more than it can run at once.
   * A round for each task would be an entry in every coordinator's log for each.
   */
  #mayWait(leadership: Leadership, event: SchedulerEvent): boolean {
    if (event.type !== 'task-outcome' || event.result !== 'DONE') return false;
    const view = this.#options.ports.state.view();
    const slots = view.executors.get(idKey(event.executorId))?.slots ?? 0;
    const tasks = view.assignedTo(event.executorId);
    const reported = leadership.outcomes.filter(
      (outcome) => outcome.type === 'task-outcome' && outcome.executorId === event.executorId,
    ).length;
    return tasks - reported > slots || mutated('scheduler.outcomesWait');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.onFollower();
    await this.#rounds;
  }

  /** Arranges for a round after `delayMs`; while one runs, another follows it at once. */
  #wake(leadership: Leadership, delayMs: number): void {
    if (leadership.running) {
      leadership.again = true;
      return;
    }
    if (leadership.woken && delayMs > 0) return;
    leadership.wakeUp?.();
    leadership.woken = true;
    leadership.wakeUp = this.#options.clock.after(delayMs, () => {
      this.#rounds = this.#run(leadership);
    });
  }

  async #run(leadership: Leadership): Promise<void> {
    leadership.woken = false;
    leadership.again = false;
    leadership.running = true;
    try {
      while (await this.#round(leadership)) leadership.again = false;
    } catch (error) {
      this.#options.onFatal(error);
      return;
    } finally {
      leadership.running = false;
    }
    if (this.#leadership === leadership) {
      leadership.wakeUp = this.#options.clock.after(this.#config.tickMs, () => {
        this.#rounds = this.#run(leadership);
      });
    }
  }

  #leads(leadership: Leadership): boolean {
    return this.#leadership === leadership && this.#options.ports.state.leadsIn(leadership.term);
  }

  /** Runs one round and answers whether another is to follow at once. */
  async #round(leadership: Leadership): Promise<boolean> {
    if (!this.#leads(leadership)) return false;
    const taken = leadership.outcomes;
    leadership.outcomes = [];
    const planned = this.#plan(leadership, taken);
    await this.#dispatch(leadership, planned.dispatches);
    const finishes = planned.operations.some(({ operation }) => operation.type === 'task.finish');
    if (finishes) await failpoint('scheduler.beforeFinish');
    if (!this.#leads(leadership)) return false;
    if (planned.operations.length === 0) {
      leadership.outcomes.unshift(...planned.waiting);
      return leadership.again;
    }
    const results = await this.#propose(leadership, planned.operations);
    if (results === undefined) {
      // Nothing is known to have happened: what executors reported is looked at again, against the state as
      // it is.
      const stale = new Set(planned.stale);
      leadership.outcomes.unshift(...taken.filter((outcome) => !stale.has(outcome)));
      return false;
    }
    leadership.outcomes.unshift(...planned.waiting);
    if (finishes) await failpoint('scheduler.afterFinish');
    // Where nothing was accepted the next try waits for the tick: a loop that is refused must not spin.
    return this.#leads(leadership) && this.#settle(leadership, planned.operations, results);
  }

  #plan(leadership: Leadership, outcomes: readonly Outcome[]): Plan {
    const { clock, ports } = this.#options;
    const monotonicMs = clock.monotonicMs();
    const view = ports.state.view();
    leadership.forgetSent(view);
    const planned = plan({
      view,
      executors: ports.executors.observe(),
      now: { monotonicMs, logTimeMs: leadership.logClock.at(monotonicMs, view.cluster.logTimeMs) },
      outcomes,
      memory: leadership.memory(),
      config: this.#config,
    });
    if (leadership.brakeSinceMs === undefined && planned.brakeSinceMs !== undefined) {
      this.counters.brakes += 1;
      this.#options.log.warn({ term: leadership.term }, 'many executors are silent; reassignment waits');
    }
    leadership.brakeSinceMs = planned.brakeSinceMs;
    leadership.firstMissedMs = planned.firstMissedMs;
    this.counters.outcomesStale += planned.stale.length;
    return planned;
  }

  /** Answers undefined when the proposal was refused or its outcome is not known. */
  async #propose(
    leadership: Leadership,
    operations: readonly PlannedOperation[],
  ): Promise<readonly OperationResult[] | undefined> {
    try {
      return await this.#options.ports.state.propose(operations.map((planned) => planned.operation));
    } catch (error) {
      if (!isTidemarkError(error, ...TRY_AGAIN)) throw error;
      this.#options.log.warn({ term: leadership.term, code: error.code }, 'a round was not committed');
      return undefined;
    }
  }

  /** Counts what was committed and stops what it replaced. Answers whether anything was accepted. */
  #settle(
    leadership: Leadership,
    operations: readonly PlannedOperation[],
    results: readonly OperationResult[],
  ): boolean {
    let accepted = 0;
    operations.forEach((planned, i) => {
      const result = results[i];
      if (result?.ok !== true) {
        this.counters.refused += 1;
        this.#options.log.warn(
          { operation: planned.operation.type, code: result?.code },
          'a step was refused',
        );
        return;
      }
      accepted += 1;
      countAccepted(this.counters, planned.cause);
      this.#follow(leadership, planned, result.value);
    });
    return accepted > 0;
  }

  #follow(
    leadership: Leadership,
    planned: PlannedOperation,
    answer: Extract<OperationResult, { readonly ok: true }>['value'],
  ): void {
    const { executors } = this.#options.ports;
    const { replaces, replacesCollector, replacesStates, replacesChore } = planned;
    const { sourceFailure, sinkFailure } = planned;
    if (sinkFailure !== undefined) leadership.sinkFailures.set(sinkFailure.sinkId, sinkFailure.failures);
    if (sourceFailure !== undefined) {
      leadership.sourceFailures.set(sourceFailure.sourceId, sourceFailure.failures);
    }
    const observed = executors.observe();
    if (replaces !== undefined && observed.get(replaces.executorId)?.connected === true) {
      executors.cancelTask(replaces.executorId, replaces);
    }
    if (replacesStates !== undefined && observed.get(replacesStates.executorId)?.connected === true) {
      executors.cancelStates(replacesStates.executorId, replacesStates);
    }
    const goesOn = replacesChore === undefined || mutated('scheduler.replacedChoreGoesOn');
    if (!goesOn && observed.get(replacesChore.executorId)?.connected === true) {
      executors.cancelChore(replacesChore.executorId, replacesChore);
    }
    // Nobody starts one again whose grant the log has kept.
    const kept = answer['stopped'] === false && !mutated('scheduler.stopsKeptCollector');
    const stops = replacesCollector !== undefined && !kept;
    if (stops && observed.get(replacesCollector.executorId)?.connected === true) {
      executors.stopCollector(replacesCollector.executorId, replacesCollector);
    }
    if (!USUAL.has(planned.cause)) {
      this.#options.log.info({ cause: planned.cause, ...subjectOf(planned) }, 'scheduled');
    }
  }

  /**
   * Sends what is granted and committed. Between the commit and the sending a leader may have been deposed.
   */
  async #dispatch(leadership: Leadership, dispatches: readonly Dispatch[]): Promise<void> {
    const tasks = new Map<number, TaskRecord[]>();
    for (const dispatch of dispatches) {
      await this.#passFailpoint(leadership, dispatch);
      if (!this.#leads(leadership) && !mutated('scheduler.dispatchesWhenDeposed')) return;
      if (!this.#isCurrent(dispatch)) continue;
      this.counters.dispatches += 1;
      this.#markSent(leadership, dispatch);
      const { executors } = this.#options.ports;
      const { executorId } = dispatch;
      if (dispatch.kind === 'reconcile') executors.reconcile(executorId, dispatch.sink);
      else if (dispatch.kind === 'probe') executors.probe(executorId, dispatch.sink);
      else if (dispatch.kind === 'report') executors.changeReport(executorId, dispatch.report);
      else if (dispatch.kind === 'prepare') executors.prepare(executorId, dispatch.source);
      else if (dispatch.kind === 'collector') executors.startCollector(executorId, dispatch.source);
      else if (dispatch.kind === 'fold') executors.fold(executorId, dispatch.report);
      else if (dispatch.kind === 'drop') executors.dropHistory(executorId, dispatch.source);
      else if (dispatch.kind === 'states')
        executors.dispatchStates(executorId, dispatch.source, dispatch.states);
      else tasks.set(executorId, [...(tasks.get(executorId) ?? []), dispatch.task]);
    }
    for (const [executorId, granted] of tasks) this.#dispatchTasks(executorId, granted);
  }

  #dispatchTasks(executorId: number, tasks: readonly TaskRecord[]): void {
    for (let from = 0; from < tasks.length; from += LIMITS.tasksPerDispatchMax) {
      const some = tasks.slice(from, from + LIMITS.tasksPerDispatchMax);
      const superseded = new Map(some.map((task) => [task.key, task.superseded]));
      this.#options.ports.executors.dispatchTasks(executorId, some, superseded);
    }
  }

  /** Chaos kills the leader here: a grant of this term that is committed and was never sent. */
  async #passFailpoint(leadership: Leadership, dispatch: Dispatch): Promise<void> {
    const token = tokenOf(dispatch);
    if (dispatch.kind === 'probe') return;
    if (leadership.sent.has(token) || tokenTerm(parseToken(token)) !== leadership.term) return;
    await failpoint('scheduler.afterGrantBeforeDispatch', {
      kind: dispatch.kind,
      key: keyOf(dispatch),
      version: dispatch.kind === 'task' ? String(dispatch.task.version) : '',
      executorId: String(dispatch.executorId),
    });
  }

  #isCurrent(dispatch: Dispatch): boolean {
    const view = this.#options.ports.state.view();
    if (dispatch.kind === 'task') {
      return view.openTasks.get(taskRowKey(dispatch.task))?.token === dispatch.task.token;
    }
    if (dispatch.kind === 'report') {
      return view.reports.get(idKey(dispatch.report.id))?.change?.token === tokenOf(dispatch);
    }
    if (dispatch.kind === 'fold') {
      return view.reports.get(idKey(dispatch.report.id))?.fold?.token === tokenOf(dispatch);
    }
    if (dispatch.kind === 'reconcile' || dispatch.kind === 'probe') {
      return view.sinks.get(idKey(dispatch.sink.id))?.epoch === dispatch.sink.epoch;
    }
    const source = view.sources.get(idKey(dispatch.source.id));
    if (dispatch.kind === 'drop') return source?.drop?.token === tokenOf(dispatch);
    if (dispatch.kind === 'states') {
      const { shard } = dispatch.states;
      const current = source?.states?.find((states) => states.shard === shard);
      return current?.grant?.token === tokenOf(dispatch);
    }
    if (source === undefined) return false;
    const token = dispatch.kind === 'prepare' ? openPrepare(source)?.token : source.collector?.epoch;
    return token === tokenOf(dispatch);
  }

  #markSent(leadership: Leadership, dispatch: Dispatch): void {
    const atMs = this.#options.clock.monotonicMs();
    if (dispatch.kind === 'probe') leadership.probed.set(dispatch.sink.id, atMs);
    else leadership.sent.set(tokenOf(dispatch), { executorId: dispatch.executorId, atMs });
  }
}

/** What a dispatch is about, for failpoints. */
function keyOf(dispatch: Dispatch): string {
  if (dispatch.kind === 'task') return dispatch.task.key;
  if ('sink' in dispatch) return String(dispatch.sink.id);
  if (dispatch.kind === 'fold' || dispatch.kind === 'report') return String(dispatch.report.id);
  return String(dispatch.source.id);
}

function tokenOf(dispatch: Dispatch): string {
  if (dispatch.kind === 'report') return must(dispatch.report.change?.token, 'token of a dispatched grant');
  if (dispatch.kind === 'fold') return must(dispatch.report.fold?.token, 'token of a dispatched grant');
  if (dispatch.kind === 'drop') return must(dispatch.source.drop?.token, 'token of a dispatched grant');
  if (dispatch.kind === 'task') return dispatch.task.token;
  if (dispatch.kind === 'states') return must(dispatch.states.grant?.token, 'token of a dispatched grant');
  if (dispatch.kind === 'reconcile' || dispatch.kind === 'probe') {
    return must(dispatch.sink.epoch ?? undefined, 'epoch of a report database');
  }
  const { source } = dispatch;
  const token = dispatch.kind === 'prepare' ? openPrepare(source)?.token : source.collector?.epoch;
  return must(token, 'token of a dispatched grant');
}

/** What an operation is about, for the log. */
function subjectOf({ operation }: PlannedOperation): Readonly<Record<string, string | number>> {
  if (operation.type === 'task.grant') {
    const { version, executorId, purpose, reason } = operation;
    return { task: taskKey(operation), version, executorId, purpose, reason };
  }
  if (operation.type === 'task.park')
    return { task: operation.key, delayMs: operation.delayMs, reason: operation.reason };
  const { type } = operation;
  return {
    type,
    ...('sinkId' in operation ? { sinkId: operation.sinkId } : {}),
    ...('sourceId' in operation ? { sourceId: operation.sourceId } : {}),
    ...('executorId' in operation ? { executorId: operation.executorId } : {}),
    ...('errorCode' in operation ? { code: operation.errorCode } : {}),
  };
}
