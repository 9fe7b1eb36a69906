/**
 * Folds reports and drops history (design 6.10), one after another, beside the tasks: none of them waits for
 * it. The newest token for the same thing wins.
 */
import { AssertionError, LIMITS, mutated, TidemarkError, toTidemarkError } from '../base/index.ts';
import type { DropHistory, FoldReport, HousekeepingOutcome, TaskProgress } from '../wire/index.ts';
import { Sweeper } from './sweeper.ts';
import type { RunnerLog } from './task-runner.ts';

export type Chore =
  | { readonly kind: 'fold'; readonly order: FoldReport }
  | { readonly kind: 'drop'; readonly order: DropHistory };

export interface Done {
  /** Where the fold mark stands, or up to where everything is dropped. */
  readonly window: number;
  /** Sweeps a piece of what a fold leaves; false when nothing is left. It may go on after the answer. */
  readonly sweep?: () => Promise<boolean>;
}

export interface HousekeeperOptions {
  /** Carries a chore out; see housekeeping-steps.ts. */
  readonly carryOut: (chore: Chore, signal: AbortSignal) => Promise<Done>;
  readonly report: (outcome: HousekeepingOutcome) => void;
  readonly log: RunnerLog;
}

interface Work {
  readonly chore: Chore;
  readonly abort: AbortController;
}

const nameOf = ({ kind, order }: Chore): string =>
  kind === 'fold' ? `fold ${order.reportId}` : `drop ${order.sourceId}`;

export class Housekeeper {
  readonly #options: HousekeeperOptions;
  readonly #work = new Map<string, Work>();
  readonly #sweeper: Sweeper;
  #tail: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: HousekeeperOptions) {
    this.#options = options;
    this.#sweeper = new Sweeper(options.log);
  }

  /** Takes a chore on. The same token again changes nothing; a newer one ends the older one's work here. */
  dispatch(chore: Chore): void {
    const name = nameOf(chore);
    const older = this.#work.get(name);
    if (this.#stopped || (older !== undefined && older.chore.order.token >= chore.order.token)) return;
    older?.abort.abort(new TidemarkError('CANCELLED', `superseded by token ${chore.order.token}`));
    const work: Work = { chore, abort: new AbortController() };
    this.#work.set(name, work);
    // An assertion that fails here is left unhandled on purpose: it ends the process.
    this.#tail = this.#tail.then(() => this.#run(name, work));
  }

  /** Stops work under this token; its connections are killed. */
  cancel(token: bigint): void {
    const reason = new TidemarkError('CANCELLED', 'cancelled by the leader');
    for (const { chore, abort } of this.#work.values()) {
      if (chore.order.token === token) abort.abort(reason);
    }
    this.#sweeper.cancel(token, reason);
  }

  progress(): TaskProgress[] {
    return [...this.#work].map(([task, { chore }]) => ({
      task,
      token: chore.order.token,
      phase: chore.kind,
      rows: 0n,
    }));
  }

  /** Cancels everything; resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const reason = new TidemarkError('CANCELLED', 'the executor is stopping');
    for (const { abort } of this.#work.values()) abort.abort(reason);
    await this.#tail;
    await this.#sweeper.stop(reason);
  }

  async #run(name: string, work: Work): Promise<void> {
    const { token, leaderTerm } = work.chore.order;
    const outcome = { token, leaderTerm, window: 0n, errorCode: '', errorMessage: '' };
    try {
      work.abort.signal.throwIfAborted();
      const { window, sweep } = await this.#options.carryOut(work.chore, work.abort.signal);
      while (mutated('fold.answersAfterSweeping') && (await sweep?.()) === true);
      this.#options.report({ ...outcome, window: BigInt(window) });
      if (sweep !== undefined) this.#sweeper.begin({ name, token, abort: work.abort, piece: sweep });
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      const { code, message } = toTidemarkError(error);
      this.#options.log.warn({ chore: name, code, error: message }, 'a chore was not done');
      this.#options.report({
        ...outcome,
        errorCode: code,
        errorMessage: message.slice(0, LIMITS.errorTextMax),
      });
    } finally {
      if (this.#work.get(name) === work) this.#work.delete(name);
    }
  }
}
