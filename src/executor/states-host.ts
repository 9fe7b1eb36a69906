/**
 * Carries out grants of row states (design 6.6): one per source and store shard, under the newest token that
 * this executor was told, in slots of their own, so that tasks never keep them waiting: tasks may be waiting
 * for them.
 */
import {
  AssertionError,
  isTidemarkError,
  LIMITS,
  sleep,
  TidemarkError,
  toTidemarkError,
  type Clock,
} from '../base/index.ts';
import type { AdvanceStates, StatesOutcome, TaskProgress } from '../wire/index.ts';
import type { Advanced } from './states/index.ts';
import type { RunnerLog } from './task-runner.ts';

/** What the host has done for it on databases; see states-steps.ts. */
export interface StatesSteps {
  advance(order: AdvanceStates, signal: AbortSignal): Promise<Advanced>;
  /** Kills database connections that earlier grants may have left, wherever they run. */
  killSuperseded(order: AdvanceStates): Promise<void>;
}

export interface StatesHostOptions {
  readonly steps: StatesSteps;
  readonly clock: Clock;
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly report: (outcome: StatesOutcome) => void;
  readonly log: RunnerLog;
}

interface Work {
  readonly order: AdvanceStates;
  readonly abort: AbortController;
  /** Resolves when connections of earlier grants were looked for and killed. */
  readonly cleared: Promise<void>;
  phase: 'waiting' | 'advancing';
}

type Ended = Pick<StatesOutcome, 'window' | 'rows' | 'errorCode' | 'errorMessage' | 'lostWindow'>;

/** A grant that took this long is worth a line, in milliseconds. */
const SLOW_MS = 2_000;

/** Failures that may pass by themselves: tried again here, under the same token. */
const PASSING = ['DB_BUSY', 'DB_UNREACHABLE', 'DB_OUTCOME_UNKNOWN', 'WINDOW_INCOMPLETE'] as const;

/** The name under which the row states of one source and shard appear in heartbeats and in the outbox. */
export const statesName = (of: { readonly sourceId: bigint; readonly shard: string }): string =>
  `states ${of.sourceId}/${of.shard}`;

export class StatesHost {
  readonly #options: StatesHostOptions;
  /** By name, the newest that was dispatched. */
  readonly #newest = new Map<string, Work>();
  readonly #waiting: Work[] = [];
  readonly #running = new Map<Work, Promise<void>>();
  #stopped = false;

  constructor(options: StatesHostOptions) {
    this.#options = options;
  }

  /** Takes a grant on. The same token again changes nothing; a newer one ends the older one's work here. */
  dispatch(order: AdvanceStates): void {
    const older = this.#newest.get(statesName(order));
    if (this.#stopped || (older !== undefined && older.order.token >= order.token)) return;
    if (older !== undefined) this.#cancel(older, `superseded by token ${order.token}`);
    const cleared = this.#clear(order);
    const work: Work = { order, abort: new AbortController(), cleared, phase: 'waiting' };
    this.#newest.set(statesName(order), work);
    this.#waiting.push(work);
    this.#next();
  }

  /** Stops work under this token or a lower one; its connections are killed. */
  cancel(of: { readonly sourceId: bigint; readonly shard: string; readonly token: bigint }): void {
    const work = this.#newest.get(statesName(of));
    if (work !== undefined && work.order.token <= of.token) this.#cancel(work, 'cancelled by the leader');
  }

  progress(): TaskProgress[] {
    return [...this.#newest.values()].map(({ order, phase }) => ({
      task: statesName(order),
      token: order.token,
      phase,
      rows: 0n,
    }));
  }

  /** Cancels everything; resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const work of this.#newest.values()) this.#cancel(work, 'the executor is stopping');
    await Promise.all(this.#running.values());
  }

  #cancel(work: Work, reason: string): void {
    work.abort.abort(new TidemarkError('CANCELLED', reason));
    const at = this.#waiting.indexOf(work);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    this.#forget(work);
  }

  #forget(work: Work): void {
    const name = statesName(work.order);
    if (this.#newest.get(name) === work) this.#newest.delete(name);
  }

  #next(): void {
    while (this.#running.size < LIMITS.statesSlotsPerExecutor) {
      const work = this.#waiting.shift();
      if (work === undefined) return;
      // An assertion that fails here is left unhandled on purpose: it ends the process.
      const over = this.#carryOut(work).finally(() => {
        this.#running.delete(work);
        this.#next();
      });
      this.#running.set(work, over);
    }
  }

  async #carryOut(work: Work): Promise<void> {
    const { clock, report } = this.#options;
    const { sourceId, shard, token, leaderTerm } = work.order;
    const startMs = clock.monotonicMs();
    await work.cleared;
    work.phase = 'advancing';
    const ended = await this.#attempt(work);
    this.#forget(work);
    const advanceMs = Math.round(clock.monotonicMs() - startMs);
    if (advanceMs >= SLOW_MS) this.#options.log.info(fields(work, { advanceMs }), 'slow row states');
    report({ sourceId, shard, token, leaderTerm, advanceMs, ...ended });
  }

  async #attempt(work: Work): Promise<Ended> {
    try {
      const { window, rows } = await this.#withRetries(work);
      return { window: BigInt(window), rows: BigInt(rows), errorCode: '', errorMessage: '', lostWindow: 0n };
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      const { code, message, details } = work.abort.signal.aborted
        ? (work.abort.signal.reason as TidemarkError)
        : toTidemarkError(error);
      this.#options.log.warn(fields(work, { code, error: message }), 'row states were not advanced');
      const mark = code === 'STATE_GAP' ? (details['mark'] ?? '0') : '0';
      return {
        window: BigInt(mark),
        rows: 0n,
        errorCode: code,
        errorMessage: message.slice(0, LIMITS.errorTextMax),
        lostWindow: code === 'WINDOW_INCOMPLETE' ? BigInt(details['window'] ?? 0) : 0n,
      };
    }
  }

  async #withRetries({ order, abort }: Work): Promise<Advanced> {
    for (let attempt = 1; ; attempt += 1) {
      abort.signal.throwIfAborted();
      try {
        return await this.#options.steps.advance(order, abort.signal);
      } catch (error) {
        const passing = isTidemarkError(error, ...PASSING);
        if (!passing || abort.signal.aborted || attempt >= LIMITS.computeRetriesMax) throw error;
        const bound = 100 * 2 ** attempt;
        await sleep(this.#options.clock, bound * (0.5 + this.#options.random() / 2), abort.signal);
      }
    }
  }

  /** For speed alone: a connection that cannot be killed ends by itself, and its locks with it. */
  async #clear(order: AdvanceStates): Promise<void> {
    try {
      await this.#options.steps.killSuperseded(order);
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      const { message } = error;
      this.#options.log.warn({ states: statesName(order), error: message }, 'earlier connections stay');
    }
  }
}

function fields({ order }: Work, more: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return { states: statesName(order), token: String(order.token), windows: order.windows.length, ...more };
}
