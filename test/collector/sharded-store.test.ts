import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LIMITS, TidemarkError, systemClock } from '../../src/base/index.ts';
import { shardsBySlot, slotOf } from '../../src/collector/store/shard-slot.ts';
import { ShardedStore, type StoreWindow } from '../../src/collector/store/sharded-store.ts';
import { CHANGE_COLUMNS, MARK_TABLE, type CapturedTable } from '../../src/job/index.ts';
import { openEngine, type SqlConnection, type SqlEngine, type SqlParam } from '../../src/sql/index.ts';
import { rule } from '../support/rule.ts';

describe('the slot of a value', () => {
  // From Python: zlib.crc32(text.encode()) % 1024. A store keeps its slots for good: these never change.
  it.each([
    [null, 90],
    [0n, 100],
    [1n, 242],
    [-(2n ** 63n), 482],
    [2n ** 63n - 1n, 219],
    ['', 1_013],
    ['DE', 356],
    ['DE  ', 356],
    ['ä😀', 559],
    [Uint8Array.of(0xff, 0x00), 294],
    ['2026-01-31', 619],
    ['12.50', 471],
  ])('of %o is %i', (value, slot) => {
    expect(slotOf(value)).toBe(slot);
  });

  it('spreads the values of a counter evenly', () => {
    const rows = new Array<number>(LIMITS.storeSlots).fill(0);
    for (let id = 0n; id < 102_400n; id += 1n) rows[slotOf(id)] = (rows[slotOf(id)] ?? 0) + 1;
    expect(Math.min(...rows)).toBeGreaterThan(50);
    expect(Math.max(...rows)).toBeLessThan(200);
  });

  it('has the shard whose ranges hold it', () => {
    const bySlot = shardsBySlot([
      {
        slots: [
          { first: 0, last: 9 },
          { first: 20, last: 1_023 },
        ],
      },
      { slots: [{ first: 10, last: 19 }] },
    ]);
    expect([0, 9, 10, 19, 20, 1_023].map((slot) => bySlot[slot])).toEqual([0, 0, 1, 1, 0, 0]);
  });
});

type Inserted = Map<string, (readonly SqlParam[])[]>;

/** A store shard in memory, that can be made to hang or to fail. */
class FakeShard {
  readonly tables: Inserted = new Map();
  behaviour: 'works' | 'hangs' | 'fails' = 'works';
  #open: Inserted = new Map();

  engine(): SqlEngine {
    const connection: Partial<SqlConnection> = {
      begin: () => {
        this.#open = new Map();
        return this.behaviour === 'hangs' ? new Promise(() => undefined) : Promise.resolve();
      },
      insertRows: (table, _columns, rows) => {
        if (this.behaviour === 'fails') {
          return Promise.reject(new TidemarkError('DB_UNREACHABLE', 'the server does not answer'));
        }
        this.#open.set(table, [...(this.#open.get(table) ?? []), ...rows]);
        return Promise.resolve();
      },
      commit: () => {
        for (const [table, rows] of this.#open) {
          this.tables.set(table, [...(this.tables.get(table) ?? []), ...rows]);
        }
        return Promise.resolve();
      },
      destroy: () => undefined,
    };
    return {
      kind: 'embedded',
      dialect: EMBEDDED.dialect,
      connect: () => Promise.resolve(connection as SqlConnection),
      use: () => Promise.reject(new Error('not used')),
      read: () => Promise.reject(new Error('not used')),
      endpoints: [],
      kill: () => Promise.resolve(),
      close: () => Promise.resolve(),
    };
  }
}

const EMBEDDED = openEngine({ kind: 'embedded', file: ':memory:' });

const column = (name: string) => ({ name, type: 'BIGINT', nullable: true });
const captured = (table: string, shardKey: string | null): CapturedTable => ({
  table,
  schemaVersion: 1,
  columns: [column('id'), column('shop')],
  primaryKey: ['id'],
  shardKey,
});
const TABLES = [captured('orders', 'shop'), captured('lines', 'id'), captured('rates', null)];
const SHARD_SLOTS = [
  { first: 0, last: 99 },
  { first: 100, last: 600 },
  { first: 601, last: 1_023 },
];

interface World {
  readonly shards: readonly FakeShard[];
  readonly store: ShardedStore;
  readonly window: StoreWindow;
}

function openWorld(): World {
  const shards = SHARD_SLOTS.map(() => new FakeShard());
  const store = new ShardedStore({
    topology: {
      format: 2,
      version: 1,
      shards: SHARD_SLOTS.map((slots, at) => ({
        name: `s${at}`,
        engine: 'embedded',
        database: { embedded: { file: `s${at}` } },
        replicas: [],
        slots: [slots],
      })),
    },
    engines: new Map(shards.map((shard, at) => [`s${at}`, shard.engine()])),
    sourceId: 7,
    epoch: 9_007_199_254_740_993n,
    tables: TABLES,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  return { shards, store, window: store.open(4, '2026-11-22') };
}

/** The weight and values of each row that a shard holds of a table. */
function held(shard: FakeShard | undefined, table: string): string[] {
  const rows = shard?.tables.get(`tm_change_7_${table}_v1`) ?? [];
  return rows.map((row) => row.slice(CHANGE_COLUMNS.length - 1).join());
}

interface Change {
  readonly table: number;
  readonly weight: 1 | -1;
  readonly row: readonly [bigint, bigint | null];
}

const anyChange: fc.Arbitrary<Change> = fc.record({
  table: fc.nat(TABLES.length - 1),
  weight: fc.constantFrom(1 as const, -1 as const),
  row: fc.tuple(fc.bigInt(-50n, 50n), fc.option(fc.bigInt(0n, 9n), { nil: null })),
});

const textOf = ({ weight, row }: Change): string => [weight, ...row].join();

async function checkSpread(changes: readonly Change[]): Promise<void> {
  const { shards, store, window } = openWorld();
  for (const { table, weight, row } of changes) store.add(window, table, weight, row);
  await store.acknowledged();
  await store.mark(window);
  expect(window.rows).toBe(changes.length);
  for (const [table, { table: name, shardKey }] of TABLES.entries()) {
    const of = changes.filter((change) => change.table === table);
    for (const [at, shard] of shards.entries()) {
      const { first, last } = SHARD_SLOTS[at] ?? { first: 0, last: -1 };
      const own = of.filter(({ row }) => {
        const slot = slotOf(row[shardKey === 'id' ? 0 : 1]);
        return shardKey === null || (first <= slot && slot <= last);
      });
      // Each once, in the order in which they came: the last image of a row is the one that counts.
      expect(held(shard, name)).toEqual(own.map(textOf));
    }
  }
  for (const [at, { shard, rows, checksum }] of store.sealed(window).entries()) {
    const marks = shards[at]?.tables.get(MARK_TABLE);
    expect([shard, marks]).toEqual([`s${at}`, [[7, 9_007_199_254_740_993n, 4, Number(rows), checksum]]]);
    const there = TABLES.reduce((sum, { table }) => sum + held(shards[at], table).length, 0);
    expect(Number(rows)).toBe(there);
  }
}

const sample: Change[] = Array.from({ length: 60 }, (_, at) => ({
  table: at % 3,
  weight: at % 2 === 0 ? 1 : -1,
  row: [BigInt(at), BigInt(at % 10)],
}));

describe('rows of a sharded store', () => {
  it('are the changes of the tables, each once on the shard of its own key, or on all', async () => {
    await fc.assert(fc.asyncProperty(fc.array(anyChange, { maxLength: 80 }), checkSpread), { numRuns: 200 });
  });

  rule('collector.replicatedToOneShard', 'of a replicated table are on every shard', () =>
    checkSpread(sample),
  );
  rule('collector.oneShardMarked', 'are marked on every shard, also where there are none', () =>
    checkSpread([]),
  );

  rule(
    'collector.slowShardIgnored',
    'are not taken on faster than the slowest shard stores them',
    async () => {
      const { shards, store, window } = openWorld();
      const [, , slow] = shards;
      if (slow !== undefined) slow.behaviour = 'hangs';
      const shop = [...Array(100).keys()].map(BigInt).find((value) => slotOf(value) > 600) ?? 0n;
      for (let id = 0n; id <= LIMITS.storeRowsWaitingMax; id += 1n) store.add(window, 0, 1, [id, shop]);
      const answer = await Promise.race([store.ready().then(() => 'ready'), turns(20).then(() => 'waits')]);
      expect(answer).toBe('waits');
    },
  );

  it('are not sealed when a shard fails, which is named', async () => {
    const { shards, store, window } = openWorld();
    const [, down] = shards;
    if (down !== undefined) down.behaviour = 'fails';
    for (const { table, weight, row } of sample) store.add(window, table, weight, row);
    await expect(store.acknowledged()).rejects.toMatchObject({
      code: 'DB_UNREACHABLE',
      message: 'store shard s1: the server does not answer',
    });
    await expect(store.mark(window)).rejects.toMatchObject({ code: 'DB_UNREACHABLE' });
    expect(down?.tables.size).toBe(0);
  });
});

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
