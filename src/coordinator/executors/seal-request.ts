/** Reads a collector's seal request; the state machine decides whether it is accepted. */
import { TidemarkError } from '../../base/index.ts';
import type { ResealWindow, SealWindow } from '../../statemachine/index.ts';
import type { SealRequest } from '../../wire/index.ts';
import { safeNumber } from '../safe-number.ts';

/** As many characters of a problem as are kept. */
const PROBLEM_LENGTH_MAX = 1_000;

/** @throws TidemarkError `BAD_REQUEST` when a number cannot be one. */
export function readSeal(request: SealRequest): SealWindow | ResealWindow {
  const { window, again, errorCode, errorMessage } = request;
  if (window === undefined) throw new TidemarkError('BAD_REQUEST', 'a seal request without a window');
  const slice = {
    sourceId: safeNumber(request.sourceId, 'source id'),
    window: safeNumber(window.window, 'window'),
    epoch: window.epoch.toString(),
    from: window.from,
    to: window.to,
    day: window.day,
    topologyVersion: window.topologyVersion,
    schemaVersions: window.schemaVersions.map(({ table, version }) => ({ table, version })),
    shards: window.shards.map(({ shard, rows, checksum }) => ({
      shard,
      rows: safeNumber(rows, 'rows'),
      checksum,
    })),
  };
  if (again) {
    const problem = { errorCode, errorMessage: errorMessage.slice(0, PROBLEM_LENGTH_MAX) };
    return { type: 'window.reseal', v: 1, ...slice, ...problem };
  }
  const coversMs = safeNumber(window.coversMs, 'covers');
  return { type: 'window.seal', v: 1, ...slice, cursor: request.cursor, coversMs };
}
