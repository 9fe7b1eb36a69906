/**
 * Writes change rows to the store shards: each image of an update to the shard of its own key, rows of
 * replicated tables to all of them (design 6.2). One writer a shard; the slowest of them holds the reader
 * back, and none of them alone ever lets a window be sealed.
 */
import {
  assert,
  AssertionError,
  mutated,
  must,
  TidemarkError,
  toTidemarkError,
  type Clock,
} from '../../base/index.ts';
import type { CapturedTable, CompiledSource, CompiledTopology } from '../../job/index.ts';
import type { SqlEngine } from '../../sql/index.ts';
import type { SealedShard } from '../../wire/index.ts';
import type { RowValues } from '../change-source.ts';
import { shardsBySlot, slotOf } from './shard-slot.ts';
import { createStoreTables } from './store-tables.ts';
import { StoreWriter, type ShardWindow } from './store-writer.ts';

/** What a window has taken so far. */
export interface StoreWindow {
  readonly window: number;
  readonly day: string;
  /** Change rows, each counted once, however many shards hold it. */
  rows: number;
  bytes: number;
  /** In the order of the topology's shards. */
  readonly shards: readonly ShardWindow[];
}

export interface ShardedStoreOptions {
  readonly topology: CompiledTopology;
  /** Primaries of the store shards by name. */
  readonly engines: ReadonlyMap<string, SqlEngine>;
  readonly sourceId: number;
  readonly epoch: bigint;
  readonly tables: readonly CapturedTable[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

interface Shard {
  readonly name: string;
  readonly writer: StoreWriter;
}

/** Where a table's rows go: by the value of one column, or everywhere. */
type Placement = { readonly by: 'column'; readonly column: number } | { readonly by: 'all' };

export class ShardedStore {
  readonly #shards: readonly Shard[];
  readonly #bySlot: Uint16Array;
  readonly #options: ShardedStoreOptions;
  #placements: readonly Placement[];

  constructor(options: ShardedStoreOptions) {
    const { topology, engines, sourceId, epoch, tables, clock, signal } = options;
    this.#options = options;
    this.#shards = topology.shards.map(({ name }) => {
      const engine = must(engines.get(name), `engine of store shard ${name}`);
      return { name, writer: new StoreWriter({ engine, sourceId, epoch, tables, clock, signal }) };
    });
    this.#bySlot = shardsBySlot(topology.shards);
    this.#placements = tables.map(placementOf);
  }

  /**
   * Makes the change tables of the source's schema versions, and writes to them from here on; rows that were
   * taken before go to the former ones.
   */
  async redefine(source: CompiledSource): Promise<void> {
    const { engines, sourceId } = this.#options;
    for (const engine of engines.values()) await createStoreTables(engine, sourceId, source);
    for (const { writer } of this.#shards) writer.redefine(source.tables);
    this.#placements = source.tables.map(placementOf);
  }

  /** Opens a window on every shard: each marks it, also one that gets no row of it. */
  open(window: number, day: string): StoreWindow {
    const shards = this.#shards.map(({ writer }) => writer.open(window, day));
    return { window, day, rows: 0, bytes: 0, shards };
  }

  /** Takes one row into `window`. Never waits: the caller awaits {@link ready} between batches. */
  add(window: StoreWindow, table: number, weight: 1 | -1, row: RowValues): void {
    const placement = must(this.#placements[table], 'a captured table of a change');
    window.rows += 1;
    if (placement.by === 'column' && this.#shards.length > 1) {
      const shard = must(this.#bySlot[slotOf(row[placement.column] ?? null)], 'the shard of a slot');
      this.#addTo(shard, window, table, weight, row);
      return;
    }
    const copies = mutated('collector.replicatedToOneShard') ? 1 : this.#shards.length;
    for (let shard = 0; shard < copies; shard += 1) this.#addTo(shard, window, table, weight, row);
  }

  /** Resolves when every shard may take more rows. Rejects after any failed write. */
  async ready(): Promise<void> {
    const waiting = mutated('collector.slowShardIgnored') ? this.#shards.slice(0, 1) : this.#shards;
    await onEach(waiting, (writer) => writer.ready());
  }

  /** Resolves when every row taken so far has been acknowledged by its shards. */
  acknowledged(): Promise<void> {
    return onEach(this.#shards, (writer) => writer.acknowledged());
  }

  /** Writes the window's mark on every shard; call it after {@link acknowledged}. */
  async mark(window: StoreWindow): Promise<void> {
    const marked = mutated('collector.oneShardMarked') ? this.#shards.slice(0, 1) : this.#shards;
    await onEach(marked, (writer, at) => writer.mark(must(window.shards[at], 'the window on a shard')));
  }

  /** What the seal says of each shard. */
  sealed(window: StoreWindow): SealedShard[] {
    return this.#shards.map(({ name }, at) => {
      const { rows, checksum } = must(window.shards[at], 'the window on a shard');
      return { shard: name, rows: BigInt(rows), checksum: checksum.toString() };
    });
  }

  /** Drops the connections, whatever they are doing. Nothing is written afterwards. */
  destroy(): void {
    for (const { writer } of this.#shards) writer.destroy();
  }

  #addTo(at: number, window: StoreWindow, table: number, weight: 1 | -1, row: RowValues): void {
    const shard = must(this.#shards[at], 'a store shard');
    const part = must(window.shards[at], 'the window on a shard');
    const before = part.bytes;
    shard.writer.add(part, table, weight, row);
    window.bytes += part.bytes - before;
  }
}

function placementOf({ table, shardKey, columns }: CapturedTable): Placement {
  if (shardKey === null) return { by: 'all' };
  const column = columns.findIndex(({ name }) => name === shardKey);
  assert(column >= 0, `the shard key of ${table} is one of its columns`);
  return { by: 'column', column };
}

/** Runs `work` on all shards at once; the first failure says which shard it was. */
async function onEach(
  shards: readonly Shard[],
  work: (writer: StoreWriter, at: number) => Promise<void>,
): Promise<void> {
  const [only, ...more] = shards;
  if (only !== undefined && more.length === 0) {
    await work(only.writer, 0);
    return;
  }
  await Promise.all(
    shards.map(async ({ name, writer }, at) => {
      try {
        await work(writer, at);
      } catch (error) {
        throw ofShard(name, error);
      }
    }),
  );
}

function ofShard(name: string, error: unknown): Error {
  if (error instanceof AssertionError) return error;
  const { code, message, next, details } = toTidemarkError(error);
  const more = next === undefined ? {} : { next };
  return new TidemarkError(code, `store shard ${name}: ${message}`, { ...more, details, cause: error });
}
