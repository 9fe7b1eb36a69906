/** Runs the collector of a source with its connections, and drops these when it ends, however it does. */
import { AssertionError, toTidemarkError } from '../base/index.ts';
import type { CompiledSource } from '../job/index.ts';
import { boundedEngine } from './bounded-engine.ts';
import type { ChangeSource } from './change-source.ts';
import { Collector, type StoppedAt } from './collector.ts';
import type { CollectorOptions } from './collector-options.ts';
import { openChangeSource } from './open-change-source.ts';
import { meetAdded } from './snapshot/added-tables.ts';
import { ShardedStore } from './store/sharded-store.ts';

/** As long as the binlog may be silent: the source is asked several times a second. */
const SOURCE_ANSWER_MS = 10_000;
/** A store that waits for a replica before it answers a COMMIT does so for 10 s by default. */
const STORE_ANSWER_MS = 30_000;

/**
 * Collects until `signal` aborts, and resolves then.
 * @throws TidemarkError `STALE_EPOCH` when a newer collector was granted the source, or what ended it else:
 * `SCHEMA_CHANGED`, `SOURCE_UNTELLABLE`, `BINLOG_PURGED`, `VALUE_RANGE`, `WINDOW_GAP`, `DB_*`.
 */
export async function runCollector(options: CollectorOptions): Promise<void> {
  const added = await codedUnlessAborted(options.signal, () => meetAdded(options, opened(options)));
  if (added === undefined) {
    await collect(options, (collector) => collector.run());
    return;
  }
  // What was captured before goes on alone, as far as where the added tables are known to be as they are.
  const place = await collect(added.former, (collector) => collector.run(added.position));
  if (options.signal.aborted || place === undefined) return;
  const { lastWindow, position, tables } = place;
  const source = { ...options.source, tables: [...tables, ...options.source.tables.slice(tables.length)] };
  const whole = { ...options, source, lastWindow, position, lost: [] };
  await collect(whole, (collector) => collector.run(undefined, added.changes));
}

async function collect(
  options: CollectorOptions,
  run: (collector: Collector) => Promise<StoppedAt | undefined>,
): Promise<StoppedAt | undefined> {
  const { engines, topology, signal, source, clock } = options;
  const changes = opened(options)(source);
  const shards = [...engines.shards].map(
    ([name, engine]) => [name, boundedEngine(engine, clock, STORE_ANSWER_MS)] as const,
  );
  const store = new ShardedStore({
    topology,
    engines: new Map(shards),
    sourceId: options.sourceId,
    epoch: options.epoch,
    tables: source.tables,
    clock,
    signal,
  });
  const drop = (): void => {
    store.destroy();
    void changes.close();
  };
  signal.addEventListener('abort', drop, { once: true });
  try {
    return await codedUnlessAborted(signal, async () => {
      signal.throwIfAborted();
      return await run(new Collector(options, changes, store, opened(options)));
    });
  } finally {
    signal.removeEventListener('abort', drop);
    store.destroy();
    await changes.close();
  }
}

const opened =
  ({ engines, clock }: CollectorOptions) =>
  (source: CompiledSource): ChangeSource => {
    const bounded = boundedEngine(engines.source, clock, SOURCE_ANSWER_MS);
    return openChangeSource({ source, engines: { ...engines, source: bounded }, clock });
  };

async function codedUnlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AssertionError) throw error;
    // Whatever else fails after the abort fails because of it: connections were dropped.
    if (!signal.aborted) throw toTidemarkError(error);
    return undefined;
  }
}
