/**
 * What an executor does for a report database as a whole: puts it under a fresh epoch, compares it with
 * what the leader knows, and probes it. The leader's tasks and what is lacking travel in pieces of bounded
 * size, each asked for or answered, so that neither side holds a whole ledger.
 */
import { AssertionError, asToken, mutated, TidemarkError, toTidemarkError } from '../base/index.ts';
import {
  reportDefinition,
  type FoldMark,
  type KnownSink as KnownSinkMessage,
  type ProbeSink,
  type Reconcile,
} from '../wire/index.ts';
import type { Catalog } from './catalog.ts';
import type { Databases } from './databases.ts';
import { readTask, type LeaderQuestions } from './leader-questions.ts';
import type { Outgoing } from './session/outbox.ts';
import type { SessionLog } from './session/protocol.ts';
import { dropKnown, stageKnown, type KnownGeneration } from './sink/known-tasks.ts';
import { readLacking } from './sink/lacking.ts';
import { probeSink } from './sink/probe.ts';
import { openSink, setEpoch, type KnownSink } from './sink/reconcile.ts';

export interface SinkDeskOptions {
  readonly catalog: Catalog;
  readonly databases: Databases;
  readonly questions: LeaderQuestions;
  readonly log: SessionLog;
  readonly send: (body: Outgoing) => void;
}

export class SinkDesk {
  readonly #options: SinkDeskOptions;
  /** By report database, the epoch that is being set; an older one gives way. */
  readonly #reconciling = new Map<bigint, bigint>();
  readonly #probing = new Set<bigint>();

  constructor(options: SinkDeskOptions) {
    this.#options = options;
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
    const staged = await stageKnown(engine, epoch, this.#options.questions.tasksOf(sinkId));
    this.#checkCurrent(sinkId, epoch);
    const { missing, folds } = await setEpoch(engine, known, staged);
    let lacks = 0;
    for await (const lacking of readLacking(engine, known)) {
      this.#checkCurrent(sinkId, epoch);
      lacks += lacking.length;
      await this.#tell({ sinkId, epoch, lacking, missing: [], folds: [], last: false });
    }
    const definitions = missing.map(({ layout }) => reportDefinition(layout.reportId, layout.generation));
    const marks = folds.map(({ reportId, generation, folded, seal }) => ({
      definition: reportDefinition(reportId, generation),
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

  async #tell(found: {
    readonly sinkId: bigint;
    readonly epoch: bigint;
    readonly lacking: string[];
    readonly missing: string[];
    readonly folds: FoldMark[];
    readonly last: boolean;
  }): Promise<void> {
    await this.#options.questions.ask((request) => ({ $case: 'sinkFound', value: { request, ...found } }));
  }
}

/** An assertion is never an answer: it goes on to the process's last handler. */
function coded(error: unknown): TidemarkError {
  if (error instanceof AssertionError) throw error;
  return toTidemarkError(error);
}
