/** Hosts collectors: one per source at most, under the newest epoch that this executor was told. */
import { AssertionError, TidemarkError, toTidemarkError, type Clock } from '../base/index.ts';
import { runCollector } from '../collector/index.ts';
import { JOB_FORMAT } from '../job/index.ts';
import type { CollectorStopped, HostedCollector, StartCollector } from '../wire/index.ts';
import type { Catalog } from './catalog.ts';
import type { Databases } from './databases.ts';
import type { SealDesk } from './session/seal-desk.ts';
import { openRowStates } from './states/index.ts';
import type { RunnerLog } from './task-runner.ts';

export interface CollectorHostOptions {
  readonly catalog: Catalog;
  readonly databases: Databases;
  readonly seals: SealDesk;
  readonly clock: Clock;
  readonly log: RunnerLog;
  /** Told when a collector has ended by itself. */
  readonly onStopped: (stopped: CollectorStopped) => void;
}

interface Hosted {
  readonly epoch: bigint;
  readonly abort: AbortController;
  readonly over: Promise<void>;
}

export class CollectorHost {
  readonly #options: CollectorHostOptions;
  readonly #hosted = new Map<bigint, Hosted>();
  /** By source, how its newest collector here ended. */
  readonly #ended = new Map<bigint, CollectorStopped>();

  constructor(options: CollectorHostOptions) {
    this.#options = options;
  }

  hosted(): HostedCollector[] {
    return [...this.#hosted].map(([sourceId, { epoch }]) => ({ sourceId, epoch }));
  }

  /**
   * Starts a collector; one of an older epoch is stopped first. An epoch that was hosted here before is never
   * started again: its rows must not be written twice, so the leader is told once more that it has ended.
   */
  start(order: StartCollector): void {
    const ended = this.#ended.get(order.sourceId);
    if (ended !== undefined && ended.epoch >= order.epoch) {
      if (ended.epoch === order.epoch) this.#options.onStopped(ended);
      return;
    }
    const running = this.#hosted.get(order.sourceId);
    if (running !== undefined && running.epoch >= order.epoch) return;
    running?.abort.abort(new TidemarkError('STALE_EPOCH', `epoch ${order.epoch} was granted`));
    const abort = new AbortController();
    const over = this.#run(order, abort, running?.over);
    this.#hosted.set(order.sourceId, { epoch: order.epoch, abort, over });
  }

  /** Stops collectors of this epoch or a lower one. */
  stop(sourceId: bigint, epoch: bigint): void {
    const running = this.#hosted.get(sourceId);
    if (running === undefined || running.epoch > epoch) return;
    running.abort.abort(new TidemarkError('CANCELLED', 'stopped by the leader'));
  }

  /** Stops all of them; resolves when none reads or writes any more. */
  async stopAll(): Promise<void> {
    const all = [...this.#hosted.values()];
    for (const { abort } of all) abort.abort(new TidemarkError('STOPPING', 'the executor is stopping'));
    await Promise.all(all.map(({ over }) => over));
  }

  /** An assertion that fails in a collector is left unhandled on purpose: it ends the process. */
  async #run(
    order: StartCollector,
    abort: AbortController,
    before: Promise<void> | undefined,
  ): Promise<void> {
    await before;
    let error: TidemarkError | undefined;
    try {
      await this.#collect(order, abort);
    } catch (caught) {
      if (caught instanceof AssertionError) throw caught;
      error = toTidemarkError(caught);
    }
    if (this.#hosted.get(order.sourceId)?.epoch === order.epoch) this.#hosted.delete(order.sourceId);
    const stopped: CollectorStopped = {
      sourceId: order.sourceId,
      epoch: order.epoch,
      errorCode: error?.code ?? '',
      errorMessage: error?.message ?? '',
    };
    this.#ended.set(order.sourceId, stopped);
    if (abort.signal.aborted) return;
    const { code, message } = error ?? {};
    this.#options.log.warn(
      { source: String(order.sourceId), epoch: String(order.epoch), code, error: message },
      'collector ended',
    );
    this.#options.onStopped(stopped);
  }

  async #collect(order: StartCollector, abort: AbortController): Promise<void> {
    const { catalog, databases, seals, clock, log } = this.#options;
    const source = catalog.source(Number(order.sourceId));
    const topology = catalog.topology(order.topologyVersion);
    const sourceId = Number(order.sourceId);
    const shards = new Map(topology.shards.map((shard) => [shard.name, databases.group(shard)]));
    await runCollector({
      sourceId,
      epoch: order.epoch,
      leaderTerm: order.leaderTerm,
      lastWindow: Number(order.lastWindow),
      position: order.position,
      cursor: order.cursor,
      formerTables: order.formerTables,
      rowStates: order.resnapshot
        ? openRowStates({ sourceId, source, formerChains: order.formerChains, shards })
        : undefined,
      source,
      topology,
      engines: {
        source: databases.engine(source.database),
        sourceAddress: databases.address(source.database),
        shards,
      },
      lost: order.lost,
      seal: (window, cursor) =>
        seals.seal({
          sourceId: order.sourceId,
          window,
          cursor,
          again: false,
          signal: abort.signal,
        }),
      reseal: (window, problem) =>
        seals.seal({
          sourceId: order.sourceId,
          window,
          cursor: '',
          again: true,
          problem,
          signal: abort.signal,
        }),
      addSchema: ({ before, after, broken }, changed) =>
        seals.addSchema(
          {
            sourceId: order.sourceId,
            epoch: order.epoch,
            table: after.table,
            version: after.schemaVersion,
            sourceJson: JSON.stringify(changed),
            replacedJson: JSON.stringify({ format: JOB_FORMAT, ...before }),
            broken: broken.map(({ column, why }) => ({ column, why })),
          },
          abort.signal,
        ),
      clock,
      log,
      signal: abort.signal,
    });
  }
}
