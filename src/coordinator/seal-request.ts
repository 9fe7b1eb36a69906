/** Reads a collector's seal request; the state machine decides whether it is accepted. */
import { TidemarkError } from '../base/index.ts';
import type { SealWindow } from '../statemachine/index.ts';
import type { SealRequest } from '../wire/index.ts';
import { safeNumber } from './safe-number.ts';

/** @throws TidemarkError `BAD_REQUEST` when a number cannot be one. */
export function readSeal(request: SealRequest): SealWindow {
  const { window } = request;
  if (window === undefined) throw new TidemarkError('BAD_REQUEST', 'a seal request without a window');
  return {
    type: 'window.seal',
    v: 1,
    sourceId: safeNumber(request.sourceId, 'source id'),
    window: safeNumber(window.window, 'window'),
    epoch: window.epoch.toString(),
    from: window.from,
    to: window.to,
    day: window.day,
    coversMs: safeNumber(window.coversMs, 'covers'),
    topologyVersion: window.topologyVersion,
    schemaVersions: window.schemaVersions.map(({ table, version }) => ({ table, version })),
    shards: window.shards.map(({ shard, rows, checksum }) => ({
      shard,
      rows: safeNumber(rows, 'rows'),
      checksum,
    })),
  };
}
