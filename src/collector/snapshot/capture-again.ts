/**
 * Captures a sealed window again that a store has lost (design 6.4): the slice of the change log between the
 * two positions of its seal, under the epoch of the collector that does it.
 */
import {
  AssertionError,
  isTidemarkError,
  mutated,
  TidemarkError,
  toTidemarkError,
} from '../../base/index.ts';
import type { CompiledSource, CompiledTopology } from '../../job/index.ts';
import type { SqlEngine } from '../../sql/index.ts';
import type { SealedShard, SealedWindow } from '../../wire/index.ts';
import type { ChangeSource, SourceEvent } from '../change-source.ts';
import type { CollectorLog } from '../collector-options.ts';
import type { ShardedStore, StoreWindow } from '../store/sharded-store.ts';
import { createStoreTables } from '../store/store-tables.ts';

const READ_WAIT_MS = 100;

interface Means {
  readonly day: string;
  readonly source: CompiledSource;
  readonly changes: ChangeSource;
  /** Opens the same source for other tables of it. */
  readonly open: (source: CompiledSource) => ChangeSource;
  readonly store: ShardedStore;
  readonly signal: AbortSignal;
}

export interface CaptureLost extends Means {
  readonly sourceId: number;
  readonly epoch: bigint;
  readonly topology: CompiledTopology;
  readonly engines: { readonly shards: ReadonlyMap<string, SqlEngine> };
  readonly lost: readonly SealedWindow[];
  readonly reseal: (window: SealedWindow, problem?: TidemarkError) => Promise<void>;
  /** Repeats a proposal until it is answered. */
  readonly propose: (work: () => Promise<void>) => Promise<void>;
  readonly log: CollectorLog;
}

/** What cannot be captured again is told, and does not keep what can from being collected. */
export async function captureLost(options: CaptureLost): Promise<void> {
  const { lost, epoch, day, source, topology, reseal, propose, signal, log } = options;
  // A failover may have taken the tables too.
  const shards = lost.length === 0 ? [] : [...options.engines.shards.values()];
  for (const engine of shards) await createStoreTables(engine, options.sourceId, source);
  for (const sealed of lost) {
    const again = { ...sealed, epoch, day, topologyVersion: topology.version };
    const fields = { source: source.name, window: String(sealed.window) };
    try {
      const found = await captureAgain(options, sealed);
      await propose(() => reseal({ ...again, shards: found }));
      log.info(fields, 'captured again');
    } catch (error) {
      const problem = toTidemarkError(error);
      if (error instanceof AssertionError || signal.aborted || !isHopeless(problem)) throw error;
      log.warn({ ...fields, code: problem.code, error: problem.message }, 'a lost window stays lost');
      await propose(() => reseal(again, problem));
    }
  }
}

/**
 * Writes and marks the window's rows on every shard, and returns what was written.
 * @throws TidemarkError `WINDOW_LOST` where the source cannot show it again, and those of source and store.
 */
async function captureAgain(means: Means, sealed: SealedWindow): Promise<SealedShard[]> {
  const { day, source, store } = means;
  if (source.engine === 'embedded') throw lostForGood(sealed, 'its source keeps no log of what is sealed');
  if (sealed.from === '') throw lostForGood(sealed, 'it is the initial snapshot');
  const older = sealed.schemaVersions.find(
    ({ table, version }) =>
      !source.tables.some((now) => now.table === table && now.schemaVersion === version),
  );
  if (older !== undefined) throw lostForGood(sealed, `table ${older.table} was altered since`);
  const window = store.open(Number(sealed.window), day);
  // Tables that were added since come after the others; what the log tells of them there is their past.
  const tables = source.tables.slice(0, sealed.schemaVersions.length);
  const isOfAll = tables.length === source.tables.length || mutated('collector.capturesAgainWithAdded');
  const changes = isOfAll ? means.changes : means.open({ ...source, tables });
  try {
    if (sealed.to !== sealed.from) await copyRows({ ...means, changes }, sealed, window);
  } finally {
    if (!isOfAll) await changes.close();
  }
  await store.acknowledged();
  await store.mark(window);
  return store.sealed(window);
}

async function copyRows(means: Means, sealed: SealedWindow, window: StoreWindow): Promise<void> {
  const { changes, store, signal } = means;
  const { position } = await changes.head();
  if (!changes.includes(position, sealed.to)) {
    throw lostForGood(sealed, `its source ends at '${position}', before it`);
  }
  let from: string | undefined = sealed.from;
  while (from !== undefined) {
    const reader = await changes.read(from);
    try {
      let next: Taken = 'more';
      while (next === 'more') {
        signal.throwIfAborted();
        next = take(means, { sealed, window }, await reader.next(READ_WAIT_MS));
        await store.ready();
      }
      from = next === 'ended' ? undefined : next.readFrom;
    } finally {
      await reader.close();
    }
  }
}

/** A definition ends its reader; one that changed nothing captured is read past. */
type Taken = 'more' | 'ended' | { readonly readFrom: string };

/** Takes events up to the commit that the window ends with. */
function take(
  { changes, store }: Means,
  { sealed, window }: { readonly sealed: SealedWindow; readonly window: StoreWindow },
  events: readonly SourceEvent[],
): Taken {
  let ended = false;
  for (const event of events) {
    if (event.type === 'change') store.add(window, event.table, event.weight, event.row);
    else if (changes.includes(event.position, sealed.to)) ended = true;
    else if (event.type === 'definition') return { readFrom: event.position };
    if (ended && !mutated('collector.capturesAgainTooMuch')) break;
  }
  return ended ? 'ended' : 'more';
}

function lostForGood({ window }: SealedWindow, why: string): TidemarkError {
  return new TidemarkError('WINDOW_LOST', `window ${window} cannot be captured again: ${why}`, {
    next: 'Reports of its source that have not read it stay without it; rebuild them.',
  });
}

/** Whether trying again would give the same: then the rest must go on without it. */
function isHopeless(error: TidemarkError): boolean {
  return isTidemarkError(error, 'WINDOW_LOST', 'BINLOG_PURGED', 'SCHEMA_CHANGED', 'SOURCE_UNTELLABLE');
}
