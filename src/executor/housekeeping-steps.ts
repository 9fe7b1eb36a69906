/** What folding a report and dropping history do on databases. */
import { asToken, assertNever, type Clock } from '../base/index.ts';
import { reportDefinition, type DropHistory, type FoldReport } from '../wire/index.ts';
import { cancellable, killEarlier } from './cancellable.ts';
import type { Catalog } from './catalog.ts';
import type { Databases } from './databases.ts';
import type { Chore, Done } from './housekeeper.ts';
import { markerName } from './marker.ts';
import { dropHistory } from './retention/drop-history.ts';
import { foldSpans, sweepOf, type FoldInput } from './sink/fold.ts';
import type { RunnerLog } from './task-runner.ts';

export interface HousekeepingStepsOptions {
  readonly catalog: Catalog;
  readonly databases: Databases;
  /** The cluster whose leader granted the work. */
  readonly clusterId: () => string;
  readonly clock: Clock;
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: RunnerLog;
}

export function housekeepingSteps(
  options: HousekeepingStepsOptions,
): (chore: Chore, signal: AbortSignal) => Promise<Done> {
  return async (chore, signal) => {
    switch (chore.kind) {
      case 'fold':
        return fold(options, chore.order, signal);
      case 'drop':
        return drop(options, chore.order, signal);
      default:
        return assertNever(chore, 'chore');
    }
  };
}

async function fold(
  options: HousekeepingStepsOptions,
  order: FoldReport,
  signal: AbortSignal,
): Promise<Done> {
  const { catalog, databases, clusterId, clock, random, log } = options;
  const plain = databases.group(catalog.sink(Number(order.sinkId)));
  // A fold that stands still in its transaction would keep the merges of its report waiting.
  await killEarlier([plain], markersOf(options, order.superseded), log);
  const [reportId, generation] = [Number(order.reportId), Number(order.generation)];
  const marker = markerName(clusterId(), asToken(order.token));
  const context = {
    engine: cancellable(plain, { signal, marker: '' }),
    clock,
    random,
    track: () => () => undefined,
    marker,
    cancelled: () => signal.aborted,
    log,
  };
  const input: FoldInput = {
    grant: { clusterId: clusterId(), epoch: asToken(order.sinkEpoch) },
    layout: catalog.report(reportDefinition(reportId, generation)),
    scope: { reportId, generation, sourceId: Number(order.sourceId) },
    spanEnds: order.ends.map(({ window, seal }) => ({ window: Number(window), seal })),
  };
  return { window: await foldSpans(context, input), sweep: sweepOf(context, input) };
}

/** Everything is dropped up to the window that it returns. */
async function drop(
  options: HousekeepingStepsOptions,
  order: DropHistory,
  signal: AbortSignal,
): Promise<Done> {
  const { catalog, databases, clusterId, log } = options;
  const sourceId = Number(order.sourceId);
  const source = catalog.source(sourceId);
  const input = { sourceId, source, window: Number(order.window), token: order.token, signal };
  const shards = catalog.topology(order.topologyVersion).shards.map((shard) => databases.group(shard));
  await killEarlier(shards, markersOf(options, order.superseded), log);
  const marker = markerName(clusterId(), asToken(order.token));
  for (const shard of shards) await dropHistory(cancellable(shard, { signal, marker }), input);
  return { window: input.window };
}

function markersOf({ clusterId }: HousekeepingStepsOptions, tokens: readonly bigint[]): string[] {
  return tokens.map((token) => markerName(clusterId(), token));
}
