/**
 * Before a comparison: the load has stopped; parked tasks are woken, and every window must have merged and
 * every report's watermark must include the last transaction of the source.
 */
import { isTidemarkError, sleep, systemClock } from '../base/index.ts';
import type { TidemarkClient } from '../client/index.ts';
import { WINDOWS_PER_LOOK } from './window-watch.ts';

export interface Settled {
  readonly ok: boolean;
  readonly tookMs: number;
  /** Windows that the source has; all of them merged if `ok`. */
  readonly windows: number;
  readonly problems: readonly string[];
}

export const SETTLE_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 250;
const WAKE_EVERY_MS = 2_000;

export interface SettleInput {
  readonly client: TidemarkClient;
  /** Whether the watermark of every report includes the source's last transaction. */
  readonly included: () => Promise<boolean>;
  readonly withinMs: number;
}

export async function settle({ client, included, withinMs }: SettleInput): Promise<Settled> {
  const started = systemClock.monotonicMs();
  let found: Found = { windows: 0, problems: ['the cluster did not answer'] };
  let wokenAt = -Infinity;
  for (;;) {
    const tookMs = Math.round(systemClock.monotonicMs() - started);
    if (tookMs > withinMs) return { ok: false, tookMs, ...found };
    try {
      if (tookMs - wokenAt > WAKE_EVERY_MS) {
        await client.retryTasks();
        wokenAt = tookMs;
      }
      found = await look(client, included);
      if (found.problems.length === 0) return { ok: true, tookMs, ...found };
    } catch (error) {
      if (!isTidemarkError(error) || error.retry === 'never') throw error;
    }
    await sleep(systemClock, LOOK_EVERY_MS);
  }
}

type Found = Pick<Settled, 'windows' | 'problems'>;

async function look(client: TidemarkClient, included: () => Promise<boolean>): Promise<Found> {
  const problems: string[] = [];
  const watermark = await included();
  if (!watermark) problems.push('a watermark does not include the last transaction');
  const sources = await client.listSources();
  for (const source of sources) {
    if (source.mergedWindow < source.lastWindow) {
      problems.push(
        `windows ${source.mergedWindow + 1n} to ${source.lastWindow} of ${source.name} did not merge`,
      );
    }
    if (source.problem !== '') problems.push(`source ${source.name}: ${source.problem}`);
  }
  for (const report of await client.listReports()) {
    if (report.holes > 0n) problems.push(`report ${report.name} has ${report.holes} holes`);
  }
  const open = (await client.listWindows({ limit: WINDOWS_PER_LOOK })).filter((window) => window.holes > 0);
  if (open.length > 0) problems.push(`${open.length} windows have holes`);
  return { windows: sources.reduce((sum, source) => sum + Number(source.lastWindow), 0), problems };
}
