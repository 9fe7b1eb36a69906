/** Copies of change rows that the tasks of a span share: the same result as alone, or no copy. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isTidemarkError, systemClock, TidemarkError, type Clock } from '../../src/base/index.ts';
import { computeContribution } from '../../src/executor/compute/compute.ts';
import { columnsToCopy, mayCopy } from '../../src/executor/compute/copied-rows.ts';
import { SpanCopies } from '../../src/executor/compute/span-copies.ts';
import { layoutOf } from '../../src/executor/sink/layout.ts';
import { changeTable, type CapturedTable, type CompiledReport } from '../../src/job/index.ts';
import type { SqlConnection, SqlEngine } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { freshEngine } from '../support/engines.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { held, holdAll } from './held.ts';
import { makeShard, seal, SOURCE, sourceOf, writeWindow, type Change } from './states/store-shard.ts';

const PAYMENTS: CapturedTable = {
  table: 'payments',
  schemaVersion: 1,
  columns: [
    { name: 'id', type: 'BIGINT', nullable: false },
    { name: 'shop', type: 'TEXT(8)', nullable: true },
    { name: 'cents', type: 'BIGINT', nullable: false },
    { name: 'note', type: 'TEXT(2000)', nullable: true },
  ],
  primaryKey: ['id'],
  shardKey: 'id',
};
const SHOP = sourceOf([PAYMENTS]);
const paid = (...row: Change['row']): Change => ({ table: 'payments', weight: 1n, row: [...row, null] });
const WINDOWS: readonly (readonly Change[])[] = [
  [paid(1n, 'a', 100n), paid(2n, 'b', 7n)],
  [paid(3n, 'a', 50n), paid(4n, 'c', 1n), paid(5n, 'a', 4n)],
];
const CHANGES = changeTable({ sourceId: SOURCE, table: 'payments', schemaVersion: 1 });

function reportOf(value = 'p.cents'): CompiledReport {
  return {
    format: 1,
    name: 'takings',
    source: 'shop',
    database: 'reports',
    inputs: [{ alias: 'p', kind: 'changes', table: 'payments', uses: ['shop', 'cents'] }],
    keys: [{ name: 'shop', type: 'TEXT(8)', nullable: false }],
    measures: [{ name: 'cents', kind: 'sum', type: 'BIGINT' }],
    sql: `SELECT p.shop AS shop, ${value} AS cents, p._w AS _w FROM p`,
    parts: 1,
  };
}

/** Shops with their row counts and sums. */
const [FIRST, SECOND] = [
  ['a 1 100', 'b 1 7'],
  ['a 2 54', 'c 1 1'],
];

/** The same engine, which tells of each statement that a reader is about to run. */
function watched(engine: SqlEngine, before: (sql: string, connection: SqlConnection) => unknown): SqlEngine {
  const watch = (connection: SqlConnection): SqlConnection =>
    new Proxy(connection, {
      get(target, name: keyof SqlConnection) {
        const value = target[name];
        if (typeof value !== 'function') return value;
        return async (...args: readonly unknown[]) => {
          if (name === 'query' || name === 'stream') await before(String(args[0]), target);
          return (value as (...all: readonly unknown[]) => unknown).call(target, ...args);
        };
      },
    });
  return {
    kind: engine.kind,
    dialect: engine.dialect,
    endpoints: engine.endpoints,
    connect: (options) => engine.connect(options),
    use: (purpose, work, signal) => engine.use(purpose, work, signal),
    read: (purpose, work, signal) => engine.read(purpose, (connection) => work(watch(connection)), signal),
    kill: (id) => engine.kill(id),
    close: () => engine.close(),
  };
}

/** A clock whose timers the test runs. */
function byHand(): { readonly clock: Clock; readonly timers: Set<() => void> } {
  const timers = new Set<() => void>();
  const after = (_ms: number, run: () => void): (() => boolean) => {
    timers.add(run);
    return () => timers.delete(run);
  };
  return { clock: { ...systemClock, after }, timers };
}

describe.skipIf(mariadbMissing())('copies that the tasks of a span share', () => {
  let store: SqlEngine;
  let close: () => Promise<void>;
  let copies: SpanCopies;
  const warnings: unknown[] = [];
  const log = { warn: (fields: unknown) => warnings.push(fields) };

  beforeAll(async () => {
    ({ engine: store, close } = await freshEngine('mysql', 'span_copies'));
    await makeShard(store, SHOP);
    for (const [at, changes] of WINDOWS.entries()) await writeWindow(store, SHOP, at + 1, changes);
  });
  beforeEach(() => {
    copies = new SpanCopies(systemClock, log);
  });
  afterEach(() => copies.close());
  afterAll(() => close());

  const compute = async (
    engine: SqlEngine,
    window: number,
    { report = reportOf(), signal = new AbortController().signal, marker = 'test' } = {},
  ): Promise<string[]> => {
    const { contribution } = await computeContribution({
      store: engine,
      shard: 'main',
      layout: layoutOf({ reportId: 1, generation: 1 }, report),
      source: SHOP,
      captured: () => PAYMENTS,
      sourceId: SOURCE,
      windows: [seal(SHOP, window, { main: WINDOWS[window - 1]?.length ?? 0 })],
      fromStates: false,
      timeMs: 60_000,
      prepared: 1n,
      formerChains: [],
      marker,
      gather: holdAll,
      copies,
      signal,
    });
    return held(contribution)
      .additive.map(
        ([shop, rows, cents]) =>
          `${Buffer.from(shop as Uint8Array).toString()} ${String(rows)} ${String(cents)}`,
      )
      .sort();
  };
  const codeOf = async (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'no error',
      (error: unknown) => (isTidemarkError(error) ? `${error.code}: ${error.message}` : String(error)),
    );

  it('are made once, and read instead of the rows', async () => {
    const statements: string[] = [];
    const engine = watched(store, (sql) => statements.push(sql));
    const tasks = [1, 2, 3, 4].map((n) => compute(engine, 1, { marker: `task ${n}` }));
    expect(await Promise.all(tasks)).toEqual([FIRST, FIRST, FIRST, FIRST]);
    expect(statements.filter((sql) => sql.startsWith('CREATE TEMPORARY'))).toHaveLength(1);
    expect(statements.filter((sql) => sql.includes(CHANGES) && sql.includes('COUNT(*)'))).toHaveLength(1);
    expect(statements.filter((sql) => sql.startsWith('WITH') && sql.includes(CHANGES))).toEqual([]);
  });

  rule('compute.copiesOfAnySpan', 'are those of the same windows', async () => {
    expect(await compute(store, 1)).toEqual(FIRST);
    expect(await compute(store, 2)).toEqual(SECOND);
  });

  rule('compute.copyNotCounted', 'are not used when rows have gone since they were counted', async () => {
    const engine = watched(store, async (sql) => {
      if (!sql.startsWith('CREATE TEMPORARY')) return;
      await store.use('test', (own) => own.query(`DELETE FROM ${CHANGES} WHERE id = 5`));
    });
    try {
      expect(await codeOf(compute(engine, 2))).toMatch(
        /^WINDOW_INCOMPLETE: .* has 2 change rows, sealed were 3/,
      );
    } finally {
      const row = [SOURCE, seal(SHOP, 2, {}).epoch, seal(SHOP, 2, {}).day, 2, 3, 1, 5n, 'a', 4n, null];
      const names = ['_source', '_epoch', '_day', '_window', '_n', '_w', 'id', 'shop', 'cents', 'note'];
      await store.use('test', (own) => own.insertRows(CHANGES, names, [row]));
    }
  });

  rule('compute.copyFailureIsFinal', 'are done without when their connection is lost', async () => {
    const engine = watched(store, (sql, connection) => {
      if (sql.includes('_tm_copy') && sql.startsWith('WITH')) connection.destroy();
    });
    expect(await compute(engine, 1)).toEqual(FIRST);
  });

  it('leave it to the report to fail by its own SQL, and serve others after it', async () => {
    const report = reportOf('p.cents / (p.cents - 7)');
    expect(await codeOf(compute(store, 1, { report }))).toMatch(
      /^DIVISION_BY_ZERO: report takings, window 1: the SQL divides by zero/,
    );
    expect(await compute(store, 1)).toEqual(FIRST);
  });

  it('are gone from the server when a task is cancelled', async () => {
    const cancel = new AbortController();
    const report = reportOf('p.cents + SLEEP(30)');
    const slow = codeOf(compute(store, 1, { report, signal: cancel.signal, marker: 'slow' }));
    const ask = async (sql: string): Promise<unknown> =>
      (await store.use('test', (own) => own.query(sql))).rows[0]?.[0];
    // The question itself has no time of its own.
    const running = (): Promise<unknown> =>
      ask("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '/*M!%SLEEP(30)%'");
    await eventually(async () => (await running()) === 1n, { withinMs: 10_000 });
    expect(await ask("SELECT IS_USED_LOCK('slow')")).not.toBeNull();
    const next = compute(store, 1);
    cancel.abort();
    expect(await slow).toMatch(/^CANCELLED/);
    expect(await running()).toBe(0n);
    expect(await ask("SELECT IS_USED_LOCK('slow')")).toBeNull();
    expect(await next).toEqual(FIRST);
  });

  it('go when no task has come for a while, and are made again', async () => {
    const { clock, timers } = byHand();
    copies = new SpanCopies(clock, log);
    let made = 0;
    const engine = watched(store, (sql) => (made += sql.startsWith('CREATE TEMPORARY') ? 1 : 0));
    expect(await compute(engine, 1)).toEqual(FIRST);
    expect(await compute(engine, 1)).toEqual(FIRST);
    expect(made).toBe(1);
    for (const run of timers) run();
    await eventually(async () => (await compute(engine, 1)).length === 2 && made === 2, {
      withinMs: 10_000,
    });
  });

  it('are given to nobody from the moment on at which their connection ends', async () => {
    const { clock, timers } = byHand();
    copies = new SpanCopies(clock, log);
    const used: SqlConnection[] = [];
    const engine = watched(store, (sql, connection) => {
      if (sql.startsWith('CREATE TEMPORARY')) used.push(connection);
    });
    expect(await compute(engine, 1)).toEqual(FIRST);
    for (const run of timers) run();
    // It is cleared now. The same columns: who had it would find its copy, and make none.
    expect(await compute(engine, 1)).toEqual(FIRST);
    expect(used).toHaveLength(2);
  });

  it('are not waited for without end, whatever another report does with them', async () => {
    const { clock, timers } = byHand();
    copies = new SpanCopies(clock, log);
    const cancel = new AbortController();
    let entered: () => void = () => undefined;
    const entering = new Promise<void>((resolve) => (entered = resolve));
    const engine = watched(store, (sql) => {
      if (sql.includes('SLEEP(60)')) entered();
    });
    const report = reportOf('p.cents + SLEEP(60)');
    const slow = codeOf(compute(engine, 1, { report, signal: cancel.signal, marker: 'slow' }));
    await entering;
    const quick = compute(engine, 1);
    await eventually(() => timers.size > 0, { withinMs: 5_000 });
    for (const run of timers) run();
    expect(await quick).toEqual(FIRST);
    cancel.abort();
    expect(await slow).toMatch(/^CANCELLED/);
  });

  it('are not tried again for a while where the server refuses them, which is said once', async () => {
    let tried = 0;
    let nowMs = 0;
    copies = new SpanCopies({ ...systemClock, monotonicMs: () => nowMs }, log);
    warnings.length = 0;
    const engine = watched(store, (sql) => {
      if (!sql.startsWith('CREATE TEMPORARY')) return;
      tried += 1;
      throw new TidemarkError('DB_ACCESS', 'CREATE TEMPORARY TABLES is denied');
    });
    for (let n = 0; n < 3; n += 1) expect(await compute(engine, 1)).toEqual(FIRST);
    expect(tried).toBe(1);
    expect(warnings).toEqual([{ code: 'DB_ACCESS', error: 'CREATE TEMPORARY TABLES is denied' }]);
    nowMs = 60_001;
    expect(await compute(engine, 1)).toEqual(FIRST);
    expect(tried).toBe(2);
  });

  it('have the columns that others want where there is room for them', () => {
    const table = PAYMENTS;
    const wanted = { table, columns: ['cents'], also: ['shop'] };
    expect(columnsToCopy(wanted, ['id'], 1_000)).toEqual(['id', 'shop', 'cents']);
    expect(columnsToCopy({ ...wanted, also: ['note'] }, ['id'], 1_000)).toEqual(['id', 'cents']);
    expect(columnsToCopy({ ...wanted, also: ['note'] }, ['note'], 1_000)).toEqual(['cents']);
  });

  it('are not made of what a server would keep out of line, or of more than it takes', () => {
    const table = PAYMENTS;
    expect(mayCopy({ table, columns: ['shop', 'cents'] }, 100_000)).toBe(true);
    expect(mayCopy({ table, columns: ['shop', 'note'] }, 1)).toBe(false);
    expect(mayCopy({ table, columns: ['shop', 'cents'] }, 1_000_000)).toBe(false);
  });
});
