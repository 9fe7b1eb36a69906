/**
 * Freshness (design 6.11), measured from outside: a marker transaction in the source, and the time from the
 * return of its COMMIT until the watermark of every report includes the source's position after it.
 */
import { isTidemarkError, sleep, systemClock } from '../base/index.ts';
import type { ChangeSource } from '../collector/index.ts';
import { WATERMARK_TABLE } from '../job/index.ts';
import type { SqlEngine } from '../sql/index.ts';

const MARKER_EVERY_MS = 200;
const LOOK_EVERY_MS = 20;
const PENDING_MAX = 1_000;
/** About half an hour of markers; what is older counts no more. */
const SAMPLES_MAX = 10_000;
/** Markers that stay in the source. */
const MARKERS_KEPT = 100;

export interface FreshnessOptions {
  readonly source: SqlEngine;
  readonly reports: SqlEngine;
  readonly changes: ChangeSource;
  /** Reports whose watermark counts. */
  readonly reportCount: number;
}

interface Marker {
  readonly committedMs: number;
  readonly position: string;
}

export class FreshnessMeter {
  readonly #options: FreshnessOptions;
  readonly #samplesMs: number[] = [];
  #pending: Marker[] = [];
  readonly #ids: number[] = [];

  constructor(options: FreshnessOptions) {
    this.#options = options;
  }

  /** Milliseconds of each marker that was seen, in order. */
  get samplesMs(): readonly number[] {
    return this.#samplesMs;
  }

  /** Writes markers and looks for them until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#write(signal), this.#look(signal)]);
  }

  /** Resolves with whether every report's watermark includes `position`. */
  async included(position: string): Promise<boolean> {
    const positions = await this.#watermarks();
    const { changes, reportCount } = this.#options;
    return (
      positions.length >= reportCount && positions.every((reached) => includes(changes, reached, position))
    );
  }

  async #write(signal: AbortSignal): Promise<void> {
    const { source, changes } = this.#options;
    while (!signal.aborted) {
      if (this.#pending.length < PENDING_MAX) {
        await tolerateDatabase(async () => {
          await source.use('marker', async (connection) => {
            await connection.begin('write');
            const now = systemClock.wallMs();
            const id = Math.max(now, 1 + (this.#ids.at(-1) ?? 0));
            await connection.query('INSERT INTO markers (marker_id, sent_ms) VALUES (?, ?)', [id, now]);
            const old = this.#ids.length < MARKERS_KEPT ? undefined : this.#ids.shift();
            if (old !== undefined) await connection.query('DELETE FROM markers WHERE marker_id = ?', [old]);
            await connection.commit();
            this.#ids.push(id);
          });
          const committedMs = systemClock.monotonicMs();
          const { position } = await changes.head();
          this.#pending.push({ committedMs, position });
        });
      }
      await sleep(systemClock, MARKER_EVERY_MS);
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { changes, reportCount } = this.#options;
    while (!signal.aborted) {
      await tolerateDatabase(async () => {
        if (this.#pending.length === 0) return;
        const positions = await this.#watermarks();
        const now = systemClock.monotonicMs();
        if (positions.length < reportCount) return;
        while (this.#pending[0] !== undefined) {
          const [{ position, committedMs }] = this.#pending as [Marker];
          if (!positions.every((reached) => includes(changes, reached, position))) return;
          this.#samplesMs.push(now - committedMs);
          if (this.#samplesMs.length > SAMPLES_MAX) this.#samplesMs.shift();
          this.#pending.shift();
        }
      });
      await sleep(systemClock, LOOK_EVERY_MS);
    }
  }

  async #watermarks(): Promise<string[]> {
    const result = await this.#options.reports.use('freshness', (connection) =>
      connection.query(`SELECT position_text FROM ${WATERMARK_TABLE}`),
    );
    return result.rows.map(([position]) => String(position));
  }
}

/** Before its first window a report has no position. */
function includes(changes: ChangeSource, reached: string, position: string): boolean {
  return reached !== '' && changes.includes(reached, position);
}

/** A busy or restarting database, or tables that are not made yet, cost a sample and no more. */
async function tolerateDatabase(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isTidemarkError(error, 'DB_BUSY', 'DB_UNREACHABLE', 'DB_OUTCOME_UNKNOWN', 'TABLE_MISSING'))
      throw error;
  }
}

/** The value below which `percent` of the samples lie; undefined without samples. */
export function percentile(samples: readonly number[], percent: number): number | undefined {
  const sorted = [...samples].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))];
}
