/** What advancing row states does on databases. */
import { asToken, must } from '../base/index.ts';
import type { AdvanceStates } from '../wire/index.ts';
import type { Catalog } from './catalog.ts';
import type { Databases } from './databases.ts';
import { killMarked, markerName } from './marker.ts';
import { advanceStates } from './states/index.ts';
import type { StatesSteps } from './states-host.ts';
import type { RunnerLog } from './task-runner.ts';

export interface StatesStepsOptions {
  readonly catalog: Catalog;
  readonly databases: Databases;
  /** The cluster whose leader granted the work. */
  readonly clusterId: () => string;
  readonly log: RunnerLog;
}

export function statesSteps(options: StatesStepsOptions): StatesSteps {
  const { catalog, databases, clusterId, log } = options;
  const engineOf = ({ topologyVersion, shard }: AdvanceStates) => {
    const { shards } = catalog.topology(topologyVersion);
    const found = must(
      shards.find(({ name }) => name === shard),
      `store shard ${shard} in topology ${topologyVersion}`,
    );
    return databases.group(found);
  };
  return {
    advance: async (order, signal) => {
      const sourceId = Number(order.sourceId);
      return advanceStates(engineOf(order), {
        sourceId,
        source: catalog.source(sourceId),
        captured: (table, version) => catalog.captured(sourceId, table, version),
        shard: order.shard,
        windows: order.windows,
        token: asToken(order.token),
        marker: markerName(clusterId(), asToken(order.token)),
        signal,
        formerChains: order.formerChains,
      });
    },
    killSuperseded: async (order) => {
      const markers = order.superseded.map((token) => markerName(clusterId(), token));
      if (markers.length === 0) return;
      const killed = await killMarked(engineOf(order), markers);
      if (killed > 0) log.info({ shard: order.shard, killed }, 'connections of earlier grants killed');
    },
  };
}
