import { SCHEDULER_DEFAULTS } from '../../../src/scheduler/index.ts';
import type { ExecutorObservation } from '../../../src/scheduler/index.ts';
import { plan } from '../../../src/scheduler/planner/plan.ts';
import type {
  Outcome,
  Plan,
  PlannerConfig,
  Sent,
  SinkFailures,
  SourceFailures,
  TaskOutcome,
} from '../../../src/scheduler/planner/types.ts';
import { openPrepare, type SinkRecord, type TaskRecord } from '../../../src/statemachine/index.ts';
import { reconciled, World } from '../../statemachine/support/world.ts';

/**
 * A leader in a story: it plans on a world, commits what it planned, and notes what it sent. Time is moved by
 * hand.
 */
export class Leader {
  readonly world: World;
  readonly executors = new Map<number, ExecutorObservation>();
  readonly sent = new Map<string, Sent>();
  readonly sourceFailures = new Map<number, SourceFailures>();
  readonly sinkFailures = new Map<number, SinkFailures>();
  reconciles = true;
  readonly probed = new Map<number, number>();
  readonly config: PlannerConfig;
  term: number;
  nowMs: number;
  leaderSinceMs: number;
  #firstMissedMs: ReadonlyMap<number, number> = new Map();
  #brakeSinceMs: number | undefined;

  constructor(world: World, config: Partial<PlannerConfig> = {}, nowMs = 1_000_000) {
    this.world = world;
    // A story that is about probes says how often.
    this.config = { ...SCHEDULER_DEFAULTS, probeMs: Number.MAX_SAFE_INTEGER, ...config };
    this.term = world.term;
    this.nowMs = nowMs;
    this.leaderSinceMs = nowMs;
  }

  /**
   * The next leader over the same state, at the same moment: it remembers nothing, and hears from nobody yet.
   */
  successor(): Leader {
    this.world.term += 1;
    return new Leader(this.world, this.config, this.nowMs);
  }

  /** Registers and connects executors named e1, e2, ... */
  connect(count: number, slots = 2): void {
    for (let i = 1; i <= count; i++) this.hear(this.world.executor(`e${i}`, slots));
  }

  /** A heartbeat now; it lists the given tasks and collectors besides those that it listed before. */
  hear(executorId: number, change: Partial<ExecutorObservation> = {}): void {
    const before = this.executors.get(executorId);
    this.executors.set(executorId, {
      executorId,
      connected: true,
      connectedSinceMs: before?.connectedSinceMs ?? this.nowMs,
      running: before?.running ?? new Set(),
      rows: before?.rows ?? new Map(),
      collecting: before?.collecting ?? new Set(),
      ...change,
      lastHeartbeatMs: this.nowMs,
    });
  }

  /** Time passes; the given executors, by default all, keep on sending heartbeats. */
  pass(ms: number, heard: readonly number[] = [...this.executors.keys()]): void {
    this.nowMs += ms;
    this.world.logTimeMs += ms;
    for (const executorId of heard) this.hear(executorId);
  }

  plan(...outcomes: readonly Outcome[]): Plan {
    return plan({
      view: this.world.state,
      executors: this.executors,
      now: { monotonicMs: this.nowMs, logTimeMs: this.world.logTimeMs },
      outcomes,
      memory: {
        term: this.term,
        leaderSinceMs: this.leaderSinceMs,
        sent: this.sent,
        sourceFailures: this.sourceFailures,
        sinkFailures: this.sinkFailures,
        probed: this.probed,
        firstMissedMs: this.#firstMissedMs,
        brakeSinceMs: this.#brakeSinceMs,
      },
      config: this.config,
    });
  }

  /** Plans, sends and commits as the loop does: executors hold what is sent to them. */
  round(...outcomes: readonly Outcome[]): Plan {
    const planned = this.plan(...outcomes);
    this.#firstMissedMs = planned.firstMissedMs;
    this.#brakeSinceMs = planned.brakeSinceMs;
    for (const dispatch of planned.dispatches) {
      const { executorId } = dispatch;
      const seen = this.executors.get(executorId);
      if (dispatch.kind === 'task') {
        this.#send(executorId, dispatch.task.token);
        this.hear(executorId, { running: new Set([...(seen?.running ?? []), dispatch.task.token]) });
      } else if (dispatch.kind === 'fold' || dispatch.kind === 'drop') {
        const grant = dispatch.kind === 'fold' ? dispatch.report.fold : dispatch.source.drop;
        this.#send(executorId, grant?.token ?? '');
        this.hear(executorId, { running: new Set([...(seen?.running ?? []), grant?.token ?? '']) });
      } else if (dispatch.kind === 'states') {
        const token = dispatch.states.grant?.token ?? '';
        this.#send(executorId, token);
        this.hear(executorId, { running: new Set([...(seen?.running ?? []), token]) });
      } else if (dispatch.kind === 'collector') {
        const epoch = dispatch.source.collector?.epoch ?? '';
        this.#send(executorId, epoch);
        this.hear(executorId, { collecting: new Set([...(seen?.collecting ?? []), epoch]) });
      } else if (dispatch.kind === 'reconcile') this.#reconcile(executorId, dispatch.sink);
      else if (dispatch.kind === 'probe') this.probed.set(dispatch.sink.id, this.nowMs);
      else if (dispatch.kind === 'report') this.#send(executorId, dispatch.report.change?.token ?? '');
      else this.#send(executorId, openPrepare(dispatch.source)?.token ?? '');
    }
    for (const { operation, sourceFailure } of planned.operations) {
      this.world.accept(operation);
      if (sourceFailure !== undefined)
        this.sourceFailures.set(sourceFailure.sourceId, sourceFailure.failures);
    }
    return planned;
  }

  /** An executor's answer, at once, unless the story keeps it back. */
  #reconcile(executorId: number, { id, epoch }: SinkRecord): void {
    this.#send(executorId, epoch ?? '');
    if (this.reconciles) this.world.accept(reconciled(id, epoch ?? ''));
  }

  #send(executorId: number, token: string): void {
    this.sent.set(token, { executorId, atMs: this.nowMs });
  }

  /** Rounds until one neither sends nor plans anything. */
  settle(): void {
    for (let i = 0; i < 50; i++) {
      const planned = this.round();
      if (planned.operations.length === 0 && planned.dispatches.length === 0) return;
    }
    throw new Error('the planner does not come to rest');
  }

  /** Prepares and collects every source, as the executors would answer. */
  start(): void {
    for (let i = 0; i < 8; i++) {
      const prepared = [...this.world.state.sources.values()].flatMap((source): Outcome[] => {
        const token = openPrepare(source)?.token ?? '';
        if (!this.sent.has(token)) return [];
        return [{ type: 'prepare-outcome', sourceId: source.id, token, copies: [], code: '', message: '' }];
      });
      this.round(...prepared);
    }
  }
}

export function outcomeOf(task: TaskRecord, change: Partial<TaskOutcome> = {}): TaskOutcome {
  return {
    type: 'task-outcome',
    executorId: task.executorId,
    key: task.key,
    version: task.version,
    token: task.token,
    result: 'DONE',
    code: '',
    message: '',
    ...change,
  };
}

/** A leader over a job with its sources collected, and `executors` connected executors. */
export function startedLeader(
  job: Parameters<World['accept']>[0],
  executors: number,
  options: { readonly slots?: number; readonly config?: Partial<PlannerConfig> } = {},
): Leader {
  const leader = new Leader(new World(), options.config);
  leader.connect(executors, options.slots);
  leader.world.accept(job);
  leader.start();
  return leader;
}
