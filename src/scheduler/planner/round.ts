/** What one round has decided so far: the operations, and which tasks were decided on already. */
import { idKey, isReconciled, type SinkRecord, type TaskRecord } from '../../statemachine/index.ts';
import type { Judgement } from './liveness.ts';
import { Placement } from './placement.ts';
import type { Cause, Dispatch, Outcome, PlanInput, PlannedOperation } from './types.ts';

export class Round {
  readonly input: PlanInput;
  readonly judgement: Judgement;
  readonly placement: Placement;
  readonly operations: PlannedOperation[] = [];
  readonly dispatches: Dispatch[] = [];
  readonly waiting: Outcome[] = [];
  readonly stale: Outcome[] = [];
  /** Keys of tasks, and ids of sources, that need no second decision in this round. */
  readonly decidedTasks = new Set<string>();
  readonly decidedSources = new Set<number>();
  readonly decidedReports = new Set<number>();
  /** `source/window` of those that this round has noted as lost. */
  readonly lostWindows = new Set<string>();
  /** Shards whose row states need no second decision, by {@link statesKey}. */
  readonly decidedStates = new Set<string>();
  readonly decidedSinks = new Set<number>();
  /** Report databases that may have lost something, or stand under another epoch. */
  readonly doubtedSinks = new Set<number>();

  constructor(input: PlanInput, judgement: Judgement) {
    this.input = input;
    this.judgement = judgement;
    this.placement = new Placement(input.view, judgement.liveness, input.config.tasksPerSlot);
  }

  /** The report database, if work may be granted for it. */
  readySink(sinkId: number): SinkRecord | undefined {
    const sink = this.input.view.sinks.get(idKey(sinkId));
    return isReconciled(sink) && !this.doubtedSinks.has(sinkId) ? sink : undefined;
  }

  get full(): boolean {
    return this.operations.length >= this.input.config.operationsPerRoundMax;
  }

  /** Whether the work under `token` has to be sent: it was never, or it was lost on the way. */
  needsDispatch(executorId: number, token: string, holds: boolean): boolean {
    const { memory, executors } = this.input;
    const seen = executors.get(executorId);
    if (holds || seen === undefined || !this.placement.isLive(executorId)) return false;
    const sent = memory.sent.get(token);
    return sent?.executorId !== executorId || sent.atMs < seen.connectedSinceMs;
  }

  /** Sent on the present stream, but its heartbeats do not list it: sent again, under the same token. */
  isLost(executorId: number, token: string, held: boolean): boolean {
    const sent = this.input.memory.sent.get(token);
    const seen = this.input.executors.get(executorId);
    if (held || sent === undefined || seen === undefined || !this.placement.isLive(executorId)) return false;
    return seen.lastHeartbeatMs - sent.atMs >= this.input.config.resendAfterMs;
  }

  /** Grants the next version of a task, or does nothing and answers false if no executor has room. */
  grantAgain(
    task: TaskRecord,
    options: {
      readonly cause: Cause;
      readonly failedAttempt: boolean;
      readonly avoid?: number | undefined;
      readonly purpose?: TaskRecord['purpose'];
      readonly reason?: string;
    },
  ): boolean {
    const executorId = this.placement.takeForTask(options.avoid, task.state === 'ASSIGNED');
    if (executorId === undefined) return false;
    if (task.state === 'ASSIGNED') this.placement.add(task.executorId, -1);
    this.decidedTasks.add(task.key);
    this.operations.push({
      cause: options.cause,
      replaces: { executorId: task.executorId, key: task.key, token: task.token },
      operation: {
        type: 'task.grant',
        v: 1,
        reportId: task.reportId,
        generation: task.generation,
        firstWindow: task.firstWindow,
        lastWindow: task.lastWindow,
        part: task.part,
        version: task.version + 1,
        executorId,
        purpose: options.purpose ?? task.purpose,
        reason: options.reason ?? task.reason,
        failedAttempt: options.failedAttempt,
      },
    });
    return true;
  }

  /**
   * Puts a task into the durable delay queue; the time doubles with each failed attempt beyond the ladder.
   */
  park(task: TaskRecord, reason: string): void {
    const { config } = this.input;
    const beyond = Math.max(0, task.attempts + 1 - config.attemptsMax);
    this.placement.add(task.executorId, -1);
    this.decidedTasks.add(task.key);
    this.operations.push({
      cause: 'parked',
      replaces: { executorId: task.executorId, key: task.key, token: task.token },
      operation: {
        type: 'task.park',
        v: 1,
        key: task.key,
        version: task.version,
        delayMs: backoff(beyond, config.parkBaseMs, config.parkCapMs),
        reason: task.purpose === 'merge' ? reason : task.reason,
      },
    });
  }
}

/** What an operation says of the grant that it takes the place of. */
export function replaced(
  grant: { readonly executorId: number; readonly token: string } | null,
): Pick<PlannedOperation, 'replacesChore'> {
  if (grant === null) return {};
  const { executorId, token } = grant;
  return { replacesChore: { executorId, token } };
}

/** `base`, doubled `times` times, at most `cap`. */
export function backoff(times: number, base: number, cap: number): number {
  return Math.min(cap, base * 2 ** Math.min(times, 30));
}
