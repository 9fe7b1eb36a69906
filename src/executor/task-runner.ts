/**
 * Runs tasks: a bounded number at once, each under its token, each ending in one outcome. Order after a
 * merge's commit: the watermark is offered the window, then the task is reported (design 6.11).
 */
import {
  AssertionError,
  failpoint,
  isTidemarkError,
  LIMITS,
  sleep,
  TidemarkError,
  toTidemarkError,
  type Clock,
} from '../base/index.ts';
import { TaskKind, TaskResult, type Task, type TaskOutcome, type TaskProgress } from '../wire/index.ts';
import type { Computed } from './compute/compute.ts';
import { resultName } from './result-name.ts';
import { Run } from './run.ts';
import type { MergeResult } from './sink/merge.ts';
import type { RetractResult } from './sink/retract.ts';

export interface RunnerLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** What the runner has done for it on databases; see task-steps.ts. */
export interface TaskSteps {
  compute(run: Run): Promise<Computed>;
  merge(run: Run, computed: Computed): Promise<MergeResult>;
  retract(run: Run): Promise<RetractResult>;
  /** Kills database connections that earlier grants of the task may have left, wherever they run. */
  killSuperseded(run: Run): Promise<void>;
}

export interface TaskRunnerOptions {
  readonly steps: TaskSteps;
  readonly slots: number;
  readonly clock: Clock;
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly report: (outcome: TaskOutcome) => void;
  readonly log: RunnerLog;
}

/** A task that took this long is worth a line, in milliseconds. */
const SLOW_MS = 2_000;

/** Failures that may pass by themselves. */
const PASSING = ['DB_BUSY', 'DB_UNREACHABLE', 'WINDOW_INCOMPLETE', 'STATE_BEHIND'] as const;

type Ended = Partial<TaskOutcome> & Pick<TaskOutcome, 'result'>;

export class TaskRunner {
  readonly #options: TaskRunnerOptions;
  /** By task, then by token: an older attempt may still be ending while a newer one runs. */
  readonly #runs = new Map<string, Map<bigint, Run>>();
  readonly #waiting: Run[] = [];
  #active = 0;
  #stopped = false;

  constructor(options: TaskRunnerOptions) {
    this.#options = options;
  }

  /**
   * Takes a task on. The same token again changes nothing; a newer one ends what runs here under older
   * ones.
   */
  dispatch(task: Task): void {
    if (this.#stopped) return;
    const runs = this.#runs.get(task.task) ?? new Map<bigint, Run>();
    if (runs.has(task.token)) return;
    for (const older of runs.values()) {
      if (older.token < task.token) void this.#cancel(older, `superseded by token ${task.token}`);
    }
    const run = new Run(task);
    // Not only when a slot is free: what holds the slots may be waiting for locks that an earlier grant left.
    run.cleared = this.#clear(run);
    runs.set(task.token, run);
    this.#runs.set(task.task, runs);
    this.#waiting.push(run);
    this.#next();
  }

  /** Stops work on the task under this token or a lower one; its connections are killed. */
  async cancel(task: string, token: bigint): Promise<void> {
    const runs = [...(this.#runs.get(task)?.values() ?? [])].filter((run) => run.token <= token);
    await Promise.all(runs.map((run) => this.#cancel(run, 'cancelled by the leader')));
  }

  progress(): TaskProgress[] {
    return this.#all().map(({ task, token, phase, rows }) => ({
      task: task.task,
      token,
      phase,
      rows: BigInt(rows),
    }));
  }

  /** Cancels everything; later dispatches are ignored. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#all().map((run) => this.#cancel(run, 'the executor is stopping')));
  }

  #all(): Run[] {
    return [...this.#runs.values()].flatMap((runs) => [...runs.values()]);
  }

  async #cancel(run: Run, reason: string): Promise<void> {
    const at = this.#waiting.indexOf(run);
    if (at >= 0) {
      this.#waiting.splice(at, 1);
      this.#finish(run, {
        result: TaskResult.TASK_RESULT_FAILED,
        errorCode: 'CANCELLED',
        errorMessage: reason,
      });
      return;
    }
    await run.cancel(reason, (error) => {
      this.#options.log.warn(this.#fields(run, { error: error.message }), 'a connection was not killed');
    });
  }

  #next(): void {
    while (this.#active < this.#options.slots) {
      const run = this.#waiting.shift();
      if (run === undefined) return;
      this.#active += 1;
      // An assertion that fails in a run is left unhandled on purpose: it ends the process.
      void this.#execute(run).finally(() => {
        this.#active -= 1;
        this.#next();
      });
    }
  }

  async #execute(run: Run): Promise<void> {
    let ended: Ended;
    try {
      ended = await this.#attempt(run);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      const known = run.cancelled ? (run.signal.reason as TidemarkError) : toTidemarkError(error);
      ended = {
        result: TaskResult.TASK_RESULT_FAILED,
        errorCode: known.code,
        errorMessage: known.message.slice(0, LIMITS.nameLengthMax * 32),
        lostWindow: known.code === 'WINDOW_INCOMPLETE' ? BigInt(known.details['window'] ?? 0) : 0n,
      };
      this.#options.log.warn(this.#fields(run, { code: known.code, error: known.message }), 'task failed');
    }
    this.#finish(run, ended);
  }

  async #attempt(run: Run): Promise<Ended> {
    await run.cleared;
    switch (run.task.kind) {
      case TaskKind.TASK_KIND_MERGE:
        return this.#merge(run);
      case TaskKind.TASK_KIND_RETRACT:
        return this.#retract(run);
      default:
        throw new TidemarkError('BAD_REQUEST', `unknown kind of task ${run.task.kind}`);
    }
  }

  /** For speed alone: a connection that cannot be killed ends by itself, and its locks with it. */
  async #clear(run: Run): Promise<void> {
    try {
      await this.#options.steps.killSuperseded(run);
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      this.#options.log.warn(
        this.#fields(run, { error: error.message }),
        'connections of earlier grants stay',
      );
    }
  }

  async #merge(run: Run): Promise<Ended> {
    const { steps, clock } = this.#options;
    const { task, version } = run.task;
    const detail = { task, token: String(run.token), version: String(version) };
    const startMs = clock.monotonicMs();
    run.phase = 'computing';
    await failpoint('executor.beforeCompute', detail);
    run.signal.throwIfAborted();
    const computed = await this.#withRetries(run, () => steps.compute(run));
    const computedMs = clock.monotonicMs();
    run.signal.throwIfAborted();
    run.phase = 'merging';
    await failpoint('executor.afterCompute', detail);
    // From here on a cancel only kills connections: whether a computed result still counts is the sink's to
    // decide.
    const merged = await steps.merge(run, computed);
    const figures = {
      computeMs: Math.round(computedMs - startMs),
      mergeMs: Math.round(clock.monotonicMs() - computedMs),
      rowsIn: BigInt(computed.rowsIn),
      rowsOut: BigInt(computed.rowsOut),
    };
    if (merged.result === 'FENCED') return { ...figures, result: TaskResult.TASK_RESULT_FENCED };
    if (merged.result === 'FOLDED') return { ...figures, result: TaskResult.TASK_RESULT_FOLDED };
    await failpoint('executor.afterCommitBeforeReport', detail);
    const { replaced, foundDone } = merged;
    return { ...figures, replaced, foundDone, result: TaskResult.TASK_RESULT_DONE };
  }

  async #retract(run: Run): Promise<Ended> {
    run.phase = 'merging';
    const result = await this.#options.steps.retract(run);
    if (result === 'FENCED') return { result: TaskResult.TASK_RESULT_FENCED };
    if (result === 'FOLDED') return { result: TaskResult.TASK_RESULT_FOLDED };
    return { result: TaskResult.TASK_RESULT_RETRACTED };
  }

  /**
   * First step of the failure ladder (design section 7): here, with the same token, what may pass by
   * itself.
   */
  async #withRetries<T>(run: Run, step: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await step();
      } catch (error) {
        const passing = isTidemarkError(error, ...PASSING);
        if (!passing || run.cancelled || attempt >= LIMITS.computeRetriesMax) throw error;
        this.#options.log.info(
          this.#fields(run, { code: error.code, attempt }),
          'task is tried again in place',
        );
        const bound = 100 * 2 ** attempt;
        await sleep(this.#options.clock, bound * (0.5 + this.#options.random() / 2), run.signal);
      }
    }
  }

  #finish(run: Run, ended: Ended): void {
    const { task, version, token, leaderTerm } = run.task;
    const runs = this.#runs.get(task);
    runs?.delete(token);
    if (runs?.size === 0) this.#runs.delete(task);
    this.#note(run, ended);
    this.#options.report({
      task,
      version,
      token,
      leaderTerm,
      errorCode: '',
      errorMessage: '',
      computeMs: 0,
      mergeMs: 0,
      rowsIn: 0n,
      rowsOut: 0n,
      replaced: false,
      foundDone: false,
      lostWindow: 0n,
      ...ended,
    });
  }

  /** What fencing and replacing did is rare and worth a line, and so is a slow task; a plain merge is not. */
  #note(run: Run, ended: Ended): void {
    const { result, replaced = false, foundDone = false, computeMs = 0, mergeMs = 0, rowsOut = 0n } = ended;
    const slow = computeMs + mergeMs >= SLOW_MS;
    const plain = result === TaskResult.TASK_RESULT_DONE && !replaced && !foundDone && !slow;
    if (plain || result === TaskResult.TASK_RESULT_FAILED) return;
    const figures = { computeMs, mergeMs, rowsOut: Number(rowsOut) };
    const fields = this.#fields(run, { result: resultName(result), replaced, foundDone, ...figures });
    this.#options.log.info(fields, 'task ended');
  }

  #fields(run: Run, more: Readonly<Record<string, unknown>>): Record<string, unknown> {
    return { task: run.task.task, token: String(run.token), version: run.task.version, ...more };
  }
}
