/**
 * Carries out prepare grants, and steps of report generations, each under its token. What became of the
 * newest one is kept: none is carried out twice, since tasks may read its copies by then.
 */
import { AssertionError, asToken, TidemarkError, toTidemarkError } from '../base/index.ts';
import { PrepareStep, type Prepare, type PrepareOutcome } from '../wire/index.ts';
import { cancellableDatabases, killEarlier } from './cancellable.ts';
import type { Catalog } from './catalog.ts';
import type { Databases } from './databases.ts';
import { markerName } from './marker.ts';
import { carryOutPrepare } from './prepare/prepare.ts';
import type { RunnerLog } from './task-runner.ts';

export interface PrepareDeskOptions {
  readonly catalog: Catalog;
  readonly databases: Databases;
  readonly log: RunnerLog;
  /** Tells the leader, under a name that is the same for a grant and those that replace it. */
  readonly tell: (name: string, outcome: PrepareOutcome) => void;
}

interface Work {
  readonly token: bigint;
  readonly abort: AbortController;
  readonly over: Promise<void>;
}

/** A source's reports together, or a report that was declared later, by itself. */
const nameOf = ({ sourceId, step, reports }: Prepare): string =>
  step === PrepareStep.PREPARE_STEP_ALL ? `prepare ${sourceId}` : `prepare ${sourceId} ${reports.join()}`;

export class PrepareDesk {
  readonly #options: PrepareDeskOptions;
  readonly #work = new Map<string, Work>();
  readonly #done = new Map<string, PrepareOutcome>();

  constructor(options: PrepareDeskOptions) {
    this.#options = options;
  }

  /** Takes a grant on. The same token again changes nothing; a newer one ends the older one's work here. */
  dispatch(prepare: Prepare): void {
    const name = nameOf(prepare);
    const done = this.#done.get(name);
    if (done?.token === prepare.token) {
      this.#options.tell(name, done);
      return;
    }
    const older = this.#work.get(name);
    if (older !== undefined && older.token >= prepare.token) return;
    older?.abort.abort(new TidemarkError('CANCELLED', `superseded by token ${prepare.token}`));
    const abort = new AbortController();
    // An assertion that fails here is left unhandled on purpose: it ends the process.
    const over = this.#run(name, prepare, abort.signal);
    this.#work.set(name, { token: prepare.token, abort, over });
  }

  /** Stops work under this token; its connections are killed. */
  cancel(token: bigint): void {
    for (const work of this.#work.values()) {
      if (work.token === token) work.abort.abort(new TidemarkError('CANCELLED', 'cancelled by the leader'));
    }
  }

  /** Cancels everything; resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    const works = [...this.#work.values()];
    for (const { abort } of works) abort.abort(new TidemarkError('CANCELLED', 'the executor is stopping'));
    await Promise.all(works.map(({ over }) => over));
  }

  async #run(name: string, prepare: Prepare, signal: AbortSignal): Promise<void> {
    const { token, sourceId } = prepare;
    let outcome: PrepareOutcome = { token, sourceId, errorCode: '', errorMessage: '', copies: [] };
    try {
      outcome = { ...outcome, copies: await this.#carryOut(prepare, signal) };
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      const { code, message } = toTidemarkError(error);
      this.#options.log.warn({ source: String(sourceId), code, error: message }, 'prepare failed');
      outcome = { ...outcome, errorCode: code, errorMessage: message };
    }
    // One that was replaced is nothing that anybody asks for again.
    if (this.#work.get(name)?.token !== token) return;
    this.#work.delete(name);
    this.#done.set(name, outcome);
    this.#options.tell(name, outcome);
  }

  async #carryOut(prepare: Prepare, signal: AbortSignal): ReturnType<typeof carryOutPrepare> {
    const { catalog, databases, log } = this.#options;
    const mark = (token: bigint): string => markerName(prepare.clusterId, token);
    const engines = [catalog.sink(Number(prepare.sinkId)), ...catalog.newestTopology().shards];
    await killEarlier(
      engines.map((group) => databases.group(group)),
      prepare.superseded.map(mark),
      log,
    );
    const marker = mark(asToken(prepare.token));
    const cancellable = cancellableDatabases(databases, { signal, marker });
    return carryOutPrepare({ catalog, databases: cancellable }, prepare);
  }
}
