/**
 * Carries out audits: each order compares one report database, or the marks of row states, once with what
 * the leader knows, and tells what differs piece by piece. Whether a difference is real is the leader's to
 * say: it looks twice.
 */
import { AssertionError, asToken, LIMITS, must, TidemarkError, toTidemarkError } from '../base/index.ts';
import type { SqlConnection, SqlEngine } from '../sql/index.ts';
import type { AuditFound, AuditSink, AuditStates } from '../wire/index.ts';
import {
  auditGenerations,
  auditLedger,
  auditMarks,
  auditOwner,
  auditStates,
  type AuditedGeneration,
  type Difference,
} from './audit/index.ts';
import type { Catalog } from './catalog.ts';
import type { Databases } from './databases.ts';
import type { LeaderQuestions, TasksPiece } from './leader-questions.ts';
import type { Outgoing } from './session/outbox.ts';

export interface AuditDeskOptions {
  readonly catalog: Catalog;
  readonly databases: Databases;
  readonly questions: LeaderQuestions;
  readonly send: (body: Outgoing) => void;
}

/** Differences in one message. */
const DIFFERENCES_PER_PIECE = 200;

/** What one look has found so far, as it is told to the leader. */
class Telling {
  readonly #request: bigint;
  readonly #send: AuditDeskOptions['send'];
  #told = 0;

  constructor(request: bigint, send: AuditDeskOptions['send']) {
    this.#request = request;
    this.#send = send;
  }

  /** False: enough was told. Without a difference it is a sign of life. */
  tell(found: readonly Difference[], compared: number): boolean {
    const told = found.slice(0, LIMITS.auditDifferencesMax - this.#told);
    this.#told += told.length;
    for (let at = 0; at === 0 || at < told.length; at += DIFFERENCES_PER_PIECE) {
      const differences = told.slice(at, at + DIFFERENCES_PER_PIECE);
      this.#piece({ differences, compared: BigInt(at === 0 ? compared : 0) });
    }
    return told.length === found.length;
  }

  end(change: Partial<AuditFound>): void {
    this.#piece({ last: true, ...change });
  }

  #piece(change: Partial<AuditFound>): void {
    const nothing = {
      differences: [],
      compared: 0n,
      last: false,
      more: false,
      errorCode: '',
      errorMessage: '',
    };
    this.#send({ $case: 'auditFound', value: { request: this.#request, ...nothing, ...change } });
  }
}

export class AuditDesk {
  readonly #options: AuditDeskOptions;

  constructor(options: AuditDeskOptions) {
    this.#options = options;
  }

  auditSink(order: AuditSink): Promise<void> {
    return this.#answer(order.request, (telling) => this.#auditSink(order, telling));
  }

  auditStates(order: AuditStates): Promise<void> {
    return this.#answer(order.request, (telling) => this.#auditStates(order, telling));
  }

  /** @param work returns false when there was more to tell than is told */
  async #answer(request: bigint, work: (telling: Telling) => Promise<boolean>): Promise<void> {
    const telling = new Telling(request, this.#options.send);
    try {
      const whole = await work(telling);
      telling.end({ more: !whole });
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      const { code: errorCode, message: errorMessage } = toTidemarkError(error);
      telling.end({ errorCode, errorMessage });
    }
  }

  async #auditSink({ known, epoch }: AuditSink, telling: Telling): Promise<boolean> {
    if (known === undefined) throw new TidemarkError('BAD_REQUEST', 'an audit that names nothing');
    const { catalog, databases, questions } = this.#options;
    const engine = databases.group(catalog.sink(Number(known.sinkId)));
    const all = known.generations.map((generation): AuditedGeneration => ({
      layout: catalog.report(generation.definition),
      sourceId: Number(generation.sourceId),
      keptFrom: Number(generation.keptFrom),
      prepared: generation.prepared,
      folded: { window: Number(generation.foldedWindow), seal: generation.foldedSeal },
      finalWindow: Number(generation.finalWindow),
    }));
    const grant = { clusterId: known.clusterId, epoch: asToken(epoch) };
    const first = await inSnapshot(engine, async (connection) => {
      const owner = await auditOwner(connection, engine.dialect, grant);
      return owner === undefined
        ? { found: await auditGenerations(connection, all), foreign: false }
        : { found: [owner], foreign: true };
    });
    if (!telling.tell(first.found, 0)) return false;
    // What another cluster, epoch or server says is compared with nothing.
    if (first.foreign) return true;
    const prepared = all.filter((generation) => generation.prepared);
    for (const generation of prepared) {
      const found = await inSnapshot(engine, (connection) =>
        auditMarks(connection, engine.dialect, generation),
      );
      if (!telling.tell(found, 0)) return false;
    }
    for await (const piece of questions.piecesOf(known.sinkId)) {
      if (!(await this.#auditPiece(engine, prepared, piece, telling))) return false;
    }
    return true;
  }

  async #auditPiece(
    engine: SqlEngine,
    generations: readonly AuditedGeneration[],
    { from, to, tasks }: TasksPiece,
    telling: Telling,
  ): Promise<boolean> {
    const range = { first: from, last: (to ?? Number.MAX_SAFE_INTEGER) - 1 };
    for (const generation of generations) {
      const { reportId, generation: number } = generation.layout;
      const own = tasks.filter((task) => task.reportId === reportId && task.generation === number);
      const found = await inSnapshot(engine, (connection) =>
        auditLedger(connection, engine.dialect, generation, range, own),
      );
      if (!telling.tell(found, own.length)) return false;
    }
    return true;
  }

  async #auditStates({ topologyVersion, states }: AuditStates, telling: Telling): Promise<boolean> {
    if (states.length === 0) return true;
    const { catalog, databases } = this.#options;
    const { shards } = catalog.topology(topologyVersion);
    for (const { sourceId, shard, window, lastWindow, newestToken, oldestToken } of states) {
      const place = must(
        shards.find(({ name }) => name === shard),
        `store shard ${shard} in topology ${topologyVersion}`,
      );
      const found = await auditStates(databases.group(place), {
        sourceId: Number(sourceId),
        shard,
        window: Number(window),
        lastWindow: Number(lastWindow),
        newestToken,
        oldestToken,
      });
      if (!telling.tell(found, 1)) return false;
    }
    return true;
  }
}

/** A snapshot that is left open by an error is dropped with its connection by the pool. */
async function inSnapshot<T>(engine: SqlEngine, look: (connection: SqlConnection) => Promise<T>): Promise<T> {
  return engine.use('audit', async (connection) => {
    await connection.begin('snapshot');
    const found = await look(connection);
    await connection.rollback();
    return found;
  });
}
