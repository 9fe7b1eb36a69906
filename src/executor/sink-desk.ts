/**
 * What an executor does for a report database as a whole: puts it under a fresh epoch, compares it with
 * what the leader knows, and probes it. The leader's tasks and what is lacking travel in pieces of bounded
 * size, each asked for or answered, so that neither side holds a whole ledger.
 */
import {
  AssertionError,
  asToken,
  isErrorCode,
  must,
  mutated,
  TidemarkError,
  toTidemarkError,
  type Cancel,
  type Clock,
} from '../base/index.ts';
import {
  KnownTaskState,
  type FoldMark,
  type KnownSink as KnownSinkMessage,
  type KnownTask as KnownTaskMessage,
  type KnownTasks,
  type ProbeSink,
  type Reconcile,
  type SinkReply,
} from '../wire/index.ts';
import type { Catalog } from './catalog.ts';
import type { Databases } from './databases.ts';
import type { Outgoing } from './session/outbox.ts';
import type { SessionLog } from './session/protocol.ts';
import {
  dropKnown,
  KNOWN_STATE,
  stageKnown,
  type KnownGeneration,
  type KnownTask,
} from './sink/known-tasks.ts';
import { probeSink } from './sink/probe.ts';
import { openSink, readLacking, setEpoch, type KnownSink } from './sink/reconcile.ts';

export interface SinkDeskOptions {
  readonly catalog: Catalog;
  readonly databases: Databases;
  readonly clock: Clock;
  readonly log: SessionLog;
  readonly send: (body: Outgoing) => void;
}

/** A leader that does not answer a question is no leader any more; the next one begins anew. */
const ANSWER_MS = 10_000;

type Answer = KnownTasks | SinkReply;

export class SinkDesk {
  readonly #options: SinkDeskOptions;
  readonly #waiting = new Map<bigint, { settle: (answer: Answer | undefined) => void; timer: Cancel }>();
  /** By report database, the epoch that is being set; an older one gives way. */
  readonly #reconciling = new Map<bigint, bigint>();
  readonly #probing = new Set<bigint>();
  #lastRequest = 0n;

  constructor(options: SinkDeskOptions) {
    this.#options = options;
  }

  onAnswer(answer: Answer): void {
    this.#waiting.get(answer.request)?.settle(answer);
  }

  /** The leader has changed: what was asked is not answered any more. */
  onWelcome(): void {
    for (const { settle } of [...this.#waiting.values()]) settle(undefined);
  }

  async reconcile(order: Reconcile): Promise<void> {
    const { known, epoch } = order;
    if (known === undefined) throw new TidemarkError('BAD_REQUEST', 'a reconcile order that names nothing');
    const { sinkId } = known;
    if ((this.#reconciling.get(sinkId) ?? 0n) >= epoch) return;
    this.#reconciling.set(sinkId, epoch);
    try {
      await this.#carryOut(known, epoch);
    } catch (error) {
      const { code, message } = coded(error);
      this.#options.log.warn(
        { sink: String(sinkId), code, error: message },
        'report database not reconciled',
      );
      const value = { sinkId, epoch, errorCode: code, errorMessage: message };
      this.#options.send({ $case: 'sinkFailed', value });
    }
  }

  async #carryOut(message: KnownSinkMessage, epoch: bigint): Promise<void> {
    const { sinkId } = message;
    const engine = this.#engineOf(sinkId);
    const known = this.#read(message, epoch);
    await openSink(engine, known);
    await stageKnown(engine, epoch, this.#tasksOf(sinkId));
    this.#checkCurrent(sinkId, epoch);
    const { missing, folds } = await setEpoch(engine, known);
    let lacks = 0;
    for await (const lacking of readLacking(engine, known)) {
      this.#checkCurrent(sinkId, epoch);
      lacks += lacking.length;
      await this.#tell({ sinkId, epoch, lacking, missing: [], folds: [], last: false });
    }
    const definitions = missing.map(({ layout }) => `report/${layout.reportId}/${layout.generation}`);
    const marks = folds.map(({ reportId, generation, folded, seal }) => ({
      definition: `report/${reportId}/${generation}`,
      window: BigInt(folded),
      seal,
    }));
    await this.#tell({ sinkId, epoch, lacking: [], missing: definitions, folds: marks, last: true });
    await dropKnown(engine, epoch);
    this.#options.log.info(
      { sink: String(sinkId), lacks, missing: missing.length },
      'report database reconciled',
    );
  }

  /** Told to the leader only if something is wrong: the next probe comes anyway. */
  async probe(order: ProbeSink): Promise<void> {
    const { sinkId, epoch, clusterId } = order;
    if (this.#probing.has(sinkId)) return;
    this.#probing.add(sinkId);
    try {
      const folds = order.generations.map(({ definition, sourceId, foldedWindow }) => {
        const { reportId, generation } = this.#options.catalog.report(definition);
        return { reportId, generation, sourceId: Number(sourceId), folded: Number(foldedWindow) };
      });
      const witnesses = { folds, tasks: order.tasks.map(readTask) };
      await probeSink(this.#engineOf(sinkId), { clusterId, epoch: asToken(epoch) }, witnesses);
    } catch (error) {
      const { code, message } = coded(error);
      this.#options.log.warn({ sink: String(sinkId), code, error: message }, 'a probe has failed');
      const value = { sinkId, epoch, errorCode: code, errorMessage: message };
      this.#options.send({ $case: 'sinkProbed', value });
    } finally {
      this.#probing.delete(sinkId);
    }
  }

  /** Of the whole group: whichever of its servers takes writes now is the one to reconcile. */
  #engineOf(sinkId: bigint): ReturnType<Databases['group']> {
    const { catalog, databases } = this.#options;
    const sink = catalog.sink(Number(sinkId));
    return mutated('sink.namedPrimaryOnly') ? databases.engine(sink.database) : databases.group(sink);
  }

  #read(message: KnownSinkMessage, epoch: bigint): KnownSink {
    const generations = message.generations.map(
      ({ definition, sourceId, keptFrom, prepared }): KnownGeneration => ({
        layout: this.#options.catalog.report(definition),
        sourceId: Number(sourceId),
        keptFrom: Number(keptFrom),
        prepared,
      }),
    );
    const { clusterId, formerIds } = message;
    return { clusterId, formerIds, epoch: asToken(epoch), generations };
  }

  #checkCurrent(sinkId: bigint, epoch: bigint): void {
    if (this.#reconciling.get(sinkId) === epoch) return;
    throw new TidemarkError('CANCELLED', 'a later epoch was granted');
  }

  /** All tasks of the report database that the leader knows, piece by piece. */
  async *#tasksOf(sinkId: bigint): AsyncGenerator<KnownTask[], void> {
    let fromWindow = 0n;
    for (;;) {
      const answer = await this.#ask((request) => ({
        $case: 'knownTasks',
        value: { request, sinkId, fromWindow },
      }));
      if (!('tasks' in answer)) throw new TidemarkError('BAD_REQUEST', 'an answer to another question');
      yield answer.tasks.map(readTask);
      if (answer.nextWindow <= fromWindow) return;
      fromWindow = answer.nextWindow;
    }
  }

  async #tell(found: {
    readonly sinkId: bigint;
    readonly epoch: bigint;
    readonly lacking: string[];
    readonly missing: string[];
    readonly folds: FoldMark[];
    readonly last: boolean;
  }): Promise<void> {
    await this.#ask((request) => ({ $case: 'sinkFound', value: { request, ...found } }));
  }

  /** @throws TidemarkError what the leader answers; `NO_LEADER` if it does not. */
  async #ask(question: (request: bigint) => Outgoing): Promise<Answer> {
    this.#lastRequest += 1n;
    const request = this.#lastRequest;
    const answer = await new Promise<Answer | undefined>((resolve) => {
      const settle = (given: Answer | undefined): void => {
        must(this.#waiting.get(request), 'a question that waits').timer();
        this.#waiting.delete(request);
        resolve(given);
      };
      const timer = this.#options.clock.after(ANSWER_MS, () => {
        settle(undefined);
      });
      this.#waiting.set(request, { settle, timer });
      this.#options.send(question(request));
    });
    if (answer === undefined) throw new TidemarkError('NO_LEADER', 'the leader does not answer any more');
    if (answer.errorCode === '') return answer;
    const code = isErrorCode(answer.errorCode) ? answer.errorCode : 'INTERNAL';
    throw new TidemarkError(code, answer.errorMessage);
  }
}

const STATES = new Map<KnownTaskState, KnownTask['state']>([
  [KnownTaskState.KNOWN_TASK_STATE_OPEN, KNOWN_STATE.open],
  [KnownTaskState.KNOWN_TASK_STATE_DONE, KNOWN_STATE.done],
  [KnownTaskState.KNOWN_TASK_STATE_LEAVING, KNOWN_STATE.leaving],
  [KnownTaskState.KNOWN_TASK_STATE_HOLE, KNOWN_STATE.hole],
]);

function readTask(task: KnownTaskMessage): KnownTask {
  const state = STATES.get(task.state);
  if (state === undefined) throw new TidemarkError('BAD_REQUEST', `a known task in state ${task.state}`);
  return {
    reportId: Number(task.reportId),
    generation: Number(task.generation),
    sourceId: Number(task.sourceId),
    firstWindow: Number(task.firstWindow),
    lastWindow: Number(task.lastWindow),
    part: task.part,
    token: task.token,
    state,
    seal: task.seal,
  };
}

/** An assertion is never an answer: it goes on to the process's last handler. */
function coded(error: unknown): TidemarkError {
  if (error instanceof AssertionError) throw error;
  return toTidemarkError(error);
}
