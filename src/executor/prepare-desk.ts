/**
 * Carries out prepare grants, and steps of report generations, each under its token and beside all others: a
 * source's reports together, and those that were declared later, each by itself. What became of a grant is
 * kept: none is carried out twice, since tasks may read its copies by then.
 */
import { AssertionError, asToken, LIMITS, mutated, TidemarkError, toTidemarkError } from '../base/index.ts';
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
  readonly tell: (outcome: PrepareOutcome) => void;
}

interface Work {
  readonly prepare: Prepare;
  readonly abort: AbortController;
  readonly over: Promise<void>;
}

export class PrepareDesk {
  readonly #options: PrepareDeskOptions;
  /** By token. */
  readonly #work = new Map<bigint, Work>();
  readonly #done = new Map<bigint, PrepareOutcome>();

  constructor(options: PrepareDeskOptions) {
    this.#options = options;
  }

  /** Takes a grant on. The same token again changes nothing; the work of those that it replaces ends here. */
  dispatch(prepare: Prepare): void {
    const { token } = prepare;
    const done = this.#done.get(token);
    if (done !== undefined) this.#options.tell(done);
    if (done !== undefined || this.#work.has(token)) return;
    for (const older of this.#replacedBy(prepare)) {
      this.#work.get(older)?.abort.abort(new TidemarkError('CANCELLED', `superseded by token ${token}`));
      this.#work.delete(older);
      this.#done.delete(older);
    }
    const abort = new AbortController();
    // An assertion that fails here is left unhandled on purpose: it ends the process.
    const over = this.#run(prepare, abort.signal);
    this.#work.set(token, { prepare, abort, over });
  }

  /** The deliberate mistake takes a report that is added for all of its source. */
  #replacedBy({ sourceId, superseded }: Prepare): readonly bigint[] {
    if (!mutated('executor.prepareEndsOthers')) return superseded;
    return [...this.#work].flatMap(([token, { prepare }]) => (prepare.sourceId === sourceId ? [token] : []));
  }

  /** Stops work under this token; its connections are killed. */
  cancel(token: bigint): void {
    this.#work.get(token)?.abort.abort(new TidemarkError('CANCELLED', 'cancelled by the leader'));
  }

  /** Cancels everything; resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    const works = [...this.#work.values()];
    for (const { abort } of works) abort.abort(new TidemarkError('CANCELLED', 'the executor is stopping'));
    await Promise.all(works.map(({ over }) => over));
  }

  async #run(prepare: Prepare, signal: AbortSignal): Promise<void> {
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
    if (!this.#work.delete(token)) return;
    this.#done.set(token, outcome);
    const oldest = this.#done.keys().next();
    if (this.#done.size > LIMITS.outcomesKeptMax && oldest.done !== true) this.#done.delete(oldest.value);
    this.#options.tell(outcome);
  }

  async #carryOut(prepare: Prepare, signal: AbortSignal): ReturnType<typeof carryOutPrepare> {
    const { catalog, databases, log } = this.#options;
    const mark = (token: bigint): string => markerName(prepare.clusterId, token);
    const stores = catalog.newestTopology().shards;
    const inStore = prepare.step === PrepareStep.PREPARE_STEP_TABLES;
    const engines = inStore ? stores : [catalog.sink(Number(prepare.sinkId)), ...stores];
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
