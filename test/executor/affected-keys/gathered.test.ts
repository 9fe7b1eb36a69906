/** A task that gathers the rows of two store shards: what it reads, refuses and leaves behind. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asToken, isTidemarkError, must } from '../../../src/base/index.ts';
import { createStoreTables } from '../../../src/collector/index.ts';
import { computeContribution } from '../../../src/executor/compute/compute.ts';
import { withGathered } from '../../../src/executor/compute/gathered-rows.ts';
import { layoutOf } from '../../../src/executor/sink/layout.ts';
import { advanceStates, createStateTables } from '../../../src/executor/states/index.ts';
import {
  MARK_TABLE,
  STATE_MARK_TABLE,
  stateTable,
  type CapturedTable,
  type CompiledReport,
  type ContributionInput,
} from '../../../src/job/index.ts';
import { TOUCHED_KEYS_MAX } from '../../../src/job/affected-keys/touched-rows.ts';
import { mysqlDialect } from '../../../src/sql/mysql-dialect.ts';
import { openEngine, type SqlConnection, type SqlEngine } from '../../../src/sql/index.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../../support/mariadb.ts';
import { rule } from '../../support/rule.ts';
import { held, holdAll } from '../held.ts';
import { EPOCH, seal, SOURCE, sourceOf, writeWindows, type Change, type Row } from '../states/store-shard.ts';

/** One column of each kind that is read or written in a way of its own. */
const COLUMNS: readonly (readonly [string, string])[] = [
  ['id', 'BIGINT'],
  ['f', 'FLOAT'],
  ['d', 'DOUBLE'],
  ['cents', 'DECIMAL(30,4)'],
  ['wide', 'BIGINT UNSIGNED'],
  ['at', 'DATETIME(6)'],
  ['lasts', 'TIME(3)'],
  ['flags', 'BIT(9)'],
  ['kind', "ENUM('a','b')"],
  ['marks', "SET('x','y')"],
  ['raw', 'BINARY(4)'],
  ['name', 'TEXT(8)'],
  ['prose', 'TEXT(2000)'],
  ['more', 'JSON'],
];
const THINGS: CapturedTable = {
  table: 'things',
  schemaVersion: 1,
  columns: COLUMNS.map(([name, type]) => ({ name, type, nullable: true })),
  primaryKey: ['name', 'id'],
  shardKey: 'id',
};
const SHOP = sourceOf([THINGS]);
const NULLS = COLUMNS.slice(1).map(([name]) => (name === 'name' ? 'n ' : null));
const row = (id: bigint, real: number, cents: string, name: string): Row => [
  ...[id, real, 1.1e-7, cents, 2n ** 64n - 1n, '2026-11-22 01:02:03.000004', '-12:00:00.125'],
  ...[new Uint8Array([1, 3]), 'b', 'x,y', new Uint8Array([0, 1, 0, 0]), name, 'ä'.repeat(1_500), '{"a":[1]}'],
];
const added = (...rows: readonly Row[]): Change[] =>
  rows.map((one) => ({ table: 'things', weight: 1n, row: one }));
/** More names than are looked up one by one. */
const MANY = Array.from({ length: TOUCHED_KEYS_MAX + 2 }, (_none, at): Row => {
  return [BigInt(10 + at), ...NULLS.map((value) => (value === null ? null : `x${at}`))];
});
/** By shard, the change rows of three windows. */
const FIRST = [
  added(row(1n, 16_777_216.5, '1.5', 'n'), row(3n, 0.1, '-0.0001', 'ü')),
  added([5n, ...NULLS]),
  added(...MANY),
];
const SECOND = [added(row(2n, 3.4e38, '12345678901234567890.1234', 'n ')), added(row(4n, 1, '7', 'n')), []];
const EVERYTHING = COLUMNS.map(([name]) => `COALESCE(HEX(${name}), '-')`).join(`, ' ', `);
const EXACTLY = `${EVERYTHING}, ' ', COALESCE(CAST(f AS DOUBLE), '-'), ' ', COALESCE(kind + flags, '-')`;

const REPORT: CompiledReport = {
  ...{ format: 1, name: 'names', source: 'shop', database: 'reports', parts: 1, gathered: true },
  inputs: [{ alias: 't', kind: 'changes', table: 'things' }],
  keys: [{ name: 'name', type: 'TEXT(8)', nullable: false }],
  measures: [
    { name: 'n', kind: 'value', type: 'BIGINT' },
    { name: 'digest', kind: 'value', type: 'TEXT(64)' },
  ],
  sql: `SELECT name, COUNT(*) AS n, SHA2(GROUP_CONCAT(${EXACTLY} ORDER BY id), 256) AS digest
    FROM t GROUP BY name`,
  affectedKeys: {
    touched: [{ alias: 't', sql: 'SELECT name FROM t' }],
    narrowed: [{ alias: 't', columns: ['name'] }],
  },
};

const OVER: ContributionInput = {
  ...{ dialect: mysqlDialect, report: REPORT, sourceId: SOURCE, tables: [THINGS], prepared: 1n },
  of: { windows: [{ window: 2, epoch: EPOCH, day: '2026-11-22' }] },
};
const STATES_BEHIND = `UPDATE ${STATE_MARK_TABLE} SET _window = _window ?`;

describe.skipIf(mariadbMissing())('rows that are gathered from two store shards', () => {
  const databases: FreshDatabase[] = [];
  const engines: SqlEngine[] = [];
  const engine = (at: number): SqlEngine => must(engines[at], 'an engine');

  /** A store shard with these windows and their row states. */
  async function shardOf(shard: string, windows: readonly (readonly Change[])[]): Promise<void> {
    const database = await freshDatabase(`gathered_${databases.length}`);
    // One connection: what a task leaves on it, the next one finds.
    const store = openEngine({ kind: 'mysql', url: database.url }, { poolMax: 1, lockWaitMs: 1_000 });
    databases.push(database);
    engines.push(store);
    await createStoreTables(store, SOURCE, SHOP);
    await createStateTables(store, SOURCE, SHOP);
    await writeWindows(store, SHOP, SOURCE, windows);
    await advanceStates(store, {
      ...{ sourceId: SOURCE, source: SHOP, captured: () => THINGS, shard, token: asToken(EPOCH) },
      windows: windows.map((changes, at) => seal(SHOP, at + 1, { [shard]: changes.length })),
      ...{ marker: 'test', formerChains: [], signal: new AbortController().signal },
    });
  }

  beforeAll(async () => {
    await shardOf('first', FIRST);
    await shardOf('second', SECOND);
    const both = FIRST.map((changes, at) => [...changes, ...(SECOND[at] ?? [])]);
    await shardOf('first', both);
  });

  afterAll(async () => {
    for (const one of engines) await one.close();
    for (const database of databases) await database.drop();
  });

  const sealed = (window: number, rows: Readonly<Record<string, readonly (readonly Change[])[]>>) =>
    seal(
      SHOP,
      window,
      Object.fromEntries(
        Object.entries(rows).map(([shard, windows]) => [shard, windows[window - 1]?.length ?? 0]),
      ),
    );

  async function compute(
    windows: readonly number[],
    first = engine(0),
    second?: SqlEngine,
    report = REPORT,
  ): Promise<string[]> {
    const rows =
      second === undefined
        ? { first: FIRST.map((one, at) => [...one, ...(SECOND[at] ?? [])]) }
        : { first: FIRST, second: SECOND };
    const { contribution } = await computeContribution({
      ...{ store: first, shard: 'first', layout: layoutOf({ reportId: 1, generation: 1 }, report) },
      ...(second === undefined ? {} : { others: [{ store: second, shard: 'second' }] }),
      timeMs: 60_000,
      ...{ source: SHOP, captured: () => THINGS, sourceId: SOURCE, fromStates: false, prepared: 1n },
      windows: windows.map((window) => sealed(window, rows)),
      ...{ marker: 'test', formerChains: [], gather: holdAll, signal: new AbortController().signal },
    });
    return held(contribution)
      .additive.map((cells) =>
        cells
          .map((cell) => (cell instanceof Uint8Array ? Buffer.from(cell).toString() : String(cell)))
          .join(' '),
      )
      .sort();
  }

  const codeOf = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'no error',
      (error: unknown) => (isTidemarkError(error) ? `${error.code}: ${error.message}` : String(error)),
    );

  it('are the same as on one shard, of every type, in the first span and later', async () => {
    for (const windows of [[1], [2], [1, 2]]) {
      const gathered = await compute(windows, engine(0), engine(1));
      expect(gathered).toEqual(await compute(windows, engine(2)));
      expect(gathered.length).toBeGreaterThan(0);
    }
    // Of a pool of one connection: the tables of the last task are gone.
    const left = await engine(0)
      .read('test', (connection) => connection.query('SELECT 1 FROM _tm_states_0'))
      .catch((error: unknown) => error);
    expect(isTidemarkError(left, 'TABLE_MISSING')).toBe(true);
  });

  rule('job.touchedKeysCut', 'are not picked by their keys where these are many', async () => {
    const gathered = await compute([3], engine(0), engine(1));
    expect(gathered.filter((cells) => / 1 1 /.test(cells))).toHaveLength(MANY.length);
  });

  rule('job.statesTouchNothing', 'are not picked by keys that row states help to find', async () => {
    // A changed row touches the names of all others too.
    const [own, other] = ['t', 'u'].map((alias) => ({ alias, kind: 'changes', table: 'things' }) as const);
    const report: CompiledReport = {
      ...REPORT,
      inputs: [must(own, 't'), must(other, 'u')],
      affectedKeys: {
        touched: [
          { alias: 't', sql: 'SELECT name FROM t UNION SELECT u.name FROM t JOIN u ON u.id <> t.id' },
        ],
        narrowed: ['t', 'u'].map((alias) => ({ alias, columns: ['name'] })),
      },
    };
    const expected = await compute([2], engine(2), undefined, report);
    expect(expected.length).toBeGreaterThan((await compute([2], engine(2))).length);
    expect(await compute([2], engine(0), engine(1), report)).toEqual(expected);
  });

  /** What is told where the second shard was changed so. */
  async function toldAfter(sql: string, first = engine(0)): Promise<string> {
    const second = engine(1);
    const change = (by: string): Promise<unknown> =>
      second.use('test', (connection) => connection.query(sql.replace('?', by)));
    await change('- 2');
    const told = await codeOf(compute([2], first, second));
    await change('+ 2');
    return told;
  }

  rule('compute.otherShardUnchecked', 'are found complete on each shard', async () => {
    expect(await toldAfter(`UPDATE ${MARK_TABLE} SET _rows = _rows ? WHERE _window = 2`)).toMatch(
      /^WINDOW_INCOMPLETE: window 2 of source shop on store shard second is marked/,
    );
    expect(await toldAfter(STATES_BEHIND)).toMatch(
      /^STATE_BEHIND: the row states of source shop on store shard second hold window 1/,
    );
  });

  it('say nothing of the first shard where another fails', async () => {
    const store = engine(0);
    const seen: unknown[] = [];
    const first: SqlEngine = {
      ...{ kind: store.kind, dialect: store.dialect, endpoints: store.endpoints },
      connect: (options) => store.connect(options),
      use: (purpose, work, signal) => store.use(purpose, work, signal),
      read: (purpose, work, signal) =>
        store.read(
          purpose,
          (connection) =>
            work(connection).catch((error: unknown) => {
              seen.push(error);
              throw error;
            }),
          signal,
        ),
      kill: (id) => store.kill(id),
      close: () => store.close(),
    };
    expect(await toldAfter(STATES_BEHIND, first)).toContain('STATE_BEHIND');
    // A router would try its next server, and note a lost connection as this shard's.
    expect(seen.map((error) => isTidemarkError(error))).toEqual([false]);
  });

  rule('compute.gatheringLocks', 'wait for no lock of who advances the row states', async () => {
    const expected = await compute([2], engine(2));
    const busy = await engine(0).connect({ purpose: 'test' });
    await busy.begin('write');
    await busy.query(
      `UPDATE ${stateTable({ sourceId: SOURCE, table: 'things', schemaVersion: 1 })} SET _to = _to`,
    );
    const gathered = await compute([2], engine(0), engine(1)).finally(() => {
      busy.destroy();
    });
    expect(gathered).toEqual(expected);
  });

  it('are bounded', async () => {
    const gather = (connection: SqlConnection, rowsMax: number): Promise<number> => {
      let rows = 0;
      return withGathered(
        connection,
        {
          ...{ store: engine(0), shard: 'first', others: [{ store: engine(1), shard: 'second' }], rowsMax },
          ...{ source: SHOP, sourceId: SOURCE, windows: [sealed(2, { first: FIRST, second: SECOND })] },
          ...{ of: OVER, where: 'report names', isFirst: false, fromStates: false, marker: 'test' },
          formerChains: [],
          signal: new AbortController().signal,
          progress: (all) => {
            rows = all;
          },
        },
        () => Promise.resolve(rows),
      );
    };
    const within = (rowsMax: number): Promise<string> =>
      codeOf(engine(0).read('test', (connection) => gather(connection, rowsMax)));
    // Two change rows, and of five row versions the four that they touch.
    expect(await within(6)).toBe('no error');
    for (const rowsMax of [0, 1, 2, 5])
      expect(await within(rowsMax)).toMatch(/^GATHER_TOO_LARGE: report names: more than/);
  });
});
