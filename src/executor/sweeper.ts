/**
 * Sweeps after folds (design 6.10), when their marks are set and answered for: no grant waits for it, so that
 * it may take its time. Reports take turns, piece by piece. What is left when it ends, by an error or with
 * the executor, is swept after the next fold of the report, wherever that is.
 */
import { AssertionError, mutated, toTidemarkError, type TidemarkError } from '../base/index.ts';
import type { RunnerLog } from './task-runner.ts';

export interface Sweep {
  /** What it belongs to; a later one of the same name takes its place. */
  readonly name: string;
  readonly token: bigint;
  readonly abort: AbortController;
  /** Sweeps a piece; false when nothing is left. */
  readonly piece: () => Promise<boolean>;
}

export class Sweeper {
  readonly #log: RunnerLog;
  readonly #sweeps = new Map<string, Sweep>();
  #running: Promise<void> | undefined;

  constructor(log: RunnerLog) {
    this.#log = log;
  }

  /** An assertion that fails in a piece is left unhandled on purpose: it ends the process. */
  begin(sweep: Sweep): void {
    this.#sweeps.set(sweep.name, sweep);
    this.#running ??= this.#run();
  }

  cancel(token: bigint, reason: TidemarkError): void {
    for (const sweep of this.#sweeps.values()) if (sweep.token === token) sweep.abort.abort(reason);
  }

  /** Cancels everything; resolves when nothing is under way any more. */
  async stop(reason: TidemarkError): Promise<void> {
    for (const { abort } of this.#sweeps.values()) abort.abort(reason);
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#sweeps.size > 0) {
      for (const sweep of [...this.#sweeps.values()]) {
        let more = await this.#piece(sweep);
        while (more && mutated('sweeper.reportsWait')) more = await this.#piece(sweep);
        if (!more && this.#sweeps.get(sweep.name) === sweep) this.#sweeps.delete(sweep.name);
      }
    }
    this.#running = undefined;
  }

  async #piece({ name, abort, piece }: Sweep): Promise<boolean> {
    try {
      abort.signal.throwIfAborted();
      return await piece();
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      const { code, message } = toTidemarkError(error);
      this.#log.warn({ chore: name, code, error: message }, 'sweeping ended before its time');
      return false;
    }
  }
}
