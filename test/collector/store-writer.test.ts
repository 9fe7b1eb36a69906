/** Batches and transactions of one store shard's writer, over a store that answers when it is told to. */
import { describe, expect } from 'vitest';
import { asToken, LIMITS, systemClock, TidemarkError } from '../../src/base/index.ts';
import { StoreWriter } from '../../src/collector/store/store-writer.ts';
import type { CapturedTable } from '../../src/job/index.ts';
import type { SqlConnection, SqlEngine, SqlParam } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';

const BATCH = LIMITS.storeWriteRowsMax;
const TABLE: CapturedTable = {
  table: 'items',
  schemaVersion: 1,
  columns: [{ name: 'id', type: 'BIGINT', nullable: false }],
  primaryKey: ['id'],
  shardKey: 'id',
};
const ID_AT = 6;

/** Keeps what was committed; each commit waits for {@link answer}. */
class SlowStore {
  readonly committed: SqlParam[][] = [];
  #waiting: ((error?: Error) => void)[] = [];

  readonly #connection = (): Partial<SqlConnection> => {
    let rows: SqlParam[] = [];
    return {
      begin: () => {
        rows = [];
        return Promise.resolve();
      },
      insertRows: (_table, _columns, added) => {
        rows.push(...added.map((row) => row[ID_AT] ?? null));
        return Promise.resolve();
      },
      commit: () =>
        new Promise<void>((resolve, reject) => {
          this.#waiting.push((error) => {
            if (error === undefined) this.committed.push(rows);
            if (error === undefined) resolve();
            else reject(error);
          });
        }),
      destroy: () => undefined,
    };
  };

  engine(): SqlEngine {
    return { connect: () => Promise.resolve(this.#connection()) } as unknown as SqlEngine;
  }

  /** Resolves when a commit waits for its answer. */
  async asked(): Promise<void> {
    await eventually(() => this.#waiting.length === 1, { withinMs: 10_000 });
  }

  /** Ends the commit that waits, or comes next. */
  async answer(error?: Error): Promise<void> {
    await this.asked();
    this.#waiting.shift()?.(error);
  }
}

function open(store: SlowStore): { writer: StoreWriter; add: (batches: number) => void } {
  const { signal } = new AbortController();
  const common = { sourceId: 1, epoch: asToken((50_000n << 40n) + 1n), clock: systemClock, signal };
  const writer = new StoreWriter({ ...common, engine: store.engine(), tables: [TABLE] });
  const window = writer.open(1, '2026-11-22');
  let id = 0n;
  return {
    writer,
    add: (batches) => {
      for (let row = 0; row < batches * BATCH; row += 1) writer.add(window, 0, 1, [(id += 1n)]);
    },
  };
}

const ids = (count: number): bigint[] => Array.from({ length: count }, (_none, at) => BigInt(at + 1));

describe('the writer of a store shard', () => {
  rule('collector.batchesCommitAlone', 'commits together what came while it was writing', async () => {
    const store = new SlowStore();
    const { writer, add } = open(store);
    add(1);
    await store.answer();
    add(3);
    const written = writer.acknowledged();
    // A transaction that the store rolled back is written again, whole.
    await store.answer(new TidemarkError('DB_BUSY', 'deadlock'));
    await store.answer();
    await eventually(() => store.committed.length === 2, { withinMs: 10_000 });
    expect(store.committed.map((rows) => rows.length)).toEqual([BATCH, 3 * BATCH]);
    await written;
    expect(store.committed.flat()).toEqual(ids(4 * BATCH));
  });

  rule('collector.readsOnWhenAllIsWritten', 'takes more rows as soon as few enough wait', async () => {
    const store = new SlowStore();
    const { writer, add } = open(store);
    add(1 + LIMITS.storeRowsWaitingMax / BATCH);
    let ready = false;
    const waiting = writer.ready().then(() => {
      ready = true;
    });
    expect(ready).toBe(false);
    await store.answer();
    await store.asked();
    expect(ready).toBe(true);
    expect(store.committed.flat().length).toBeLessThanOrEqual(LIMITS.storeCommitRowsMax);
    await waiting;
  });
});
