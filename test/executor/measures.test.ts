/** Variance and distinct from change rows to the view that people read, with retraction. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asToken, must } from '../../src/base/index.ts';
import { varianceEquals } from '../../src/dev/verify/compare.ts';
import { computeContribution } from '../../src/executor/compute/compute.ts';
import { layoutOf } from '../../src/executor/sink/layout.ts';
import { mergeContribution } from '../../src/executor/sink/merge.ts';
import { prepareReport } from '../../src/executor/sink/report-view.ts';
import type { CapturedTable, CompiledReport, Measure } from '../../src/job/index.ts';
import type { SqlEngine, SqlValue } from '../../src/sql/index.ts';
import { freshEngine, type FreshEngine } from '../support/engines.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { prepareSink } from './sink-fixture.ts';
import { rule } from '../support/rule.ts';
import { contextOf, TOKEN_BASE } from './merge-fixture.ts';
import { makeShard, seal, SOURCE, sourceOf, writeWindow, type Change } from './states/store-shard.ts';
import { holdAll } from './held.ts';

const PAYMENTS: CapturedTable = {
  table: 'payments',
  schemaVersion: 1,
  columns: [
    { name: 'id', type: 'BIGINT', nullable: false },
    { name: 'cents', type: 'BIGINT', nullable: true },
    { name: 'buyer', type: 'TEXT(8)', nullable: true },
  ],
  primaryKey: ['id'],
  shardKey: 'id',
};
const MEASURES: readonly Measure[] = [
  { name: 'spread', kind: 'variance', type: 'BIGINT' },
  { name: 'buyers', kind: 'distinct', type: 'TEXT(8)' },
  { name: 'amounts', kind: 'distinct', type: 'BIGINT' },
  // Reads the multiset of the one before.
  { name: 'largest', kind: 'max', type: 'BIGINT', sameAs: 2 },
];
const EXACT: Measure = { name: 'spread_exact', kind: 'variance', type: 'DECIMAL(20,2)' };

const paid = (weight: 1n | -1n, ...row: readonly SqlValue[]): Change => ({ table: 'payments', weight, row });

/** Store and report database in one, with a report that is new in each test. */
class Place {
  readonly #engine: SqlEngine;
  readonly #source = sourceOf([PAYMENTS]);
  readonly #grant = { clusterId: 'c'.repeat(32), epoch: asToken(TOKEN_BASE + 1n) };
  #windows = 0;
  #reports = 0;

  constructor(engine: SqlEngine) {
    this.#engine = engine;
  }

  async make(): Promise<void> {
    await makeShard(this.#engine, this.#source);
    await prepareSink(this.#engine, this.#grant);
  }

  /** Merges windows in the order of `order` and returns the rows of the report after each. */
  async shown(
    windows: readonly (readonly Change[])[],
    order: readonly number[],
  ): Promise<(readonly (readonly SqlValue[])[])[]> {
    this.#reports += 1;
    const before = this.#windows;
    const layout = layoutOf({ reportId: this.#reports, generation: 1 }, this.#report());
    const prepared = { ...this.#grant, prepared: asToken(TOKEN_BASE), sourceId: SOURCE };
    await prepareReport(this.#engine, prepared, layout);
    for (const changes of windows) {
      this.#windows += 1;
      await writeWindow(this.#engine, this.#source, this.#windows, changes);
    }
    const seen: (readonly (readonly SqlValue[])[])[] = [];
    for (const at of order) {
      const window = before + at;
      const sealed = seal(this.#source, window, { main: must(windows[at - 1], 'a window').length });
      const { contribution } = await computeContribution({
        store: this.#engine,
        shard: 'main',
        layout,
        source: this.#source,
        captured: () => PAYMENTS,
        sourceId: SOURCE,
        windows: [sealed],
        fromStates: false,
        timeMs: 60_000,
        prepared: TOKEN_BASE,
        marker: 'test',
        formerChains: [],
        gather: holdAll,
        signal: new AbortController().signal,
      });
      const span = { reportId: this.#reports, generation: 1, sourceId: SOURCE, firstWindow: window };
      const more = { lastWindow: window, part: 0, parts: 1, coversMs: window, position: String(window) };
      const token = asToken(TOKEN_BASE + BigInt(100 + window));
      const merge = { grant: this.#grant, layout, span: { ...span, ...more }, token, contribution };
      await mergeContribution(contextOf(this.#engine), merge);
      const sql = `SELECT * FROM ${layout.report.name} ORDER BY day`;
      seen.push((await this.#engine.use('test', (connection) => connection.query(sql))).rows);
    }
    return seen;
  }

  #report(): CompiledReport {
    const exact = this.#engine.kind === 'mysql';
    const items = ['cents AS spread', 'buyer AS buyers', 'cents AS amounts', 'cents AS largest'];
    if (exact) items.push('cents / 100 AS spread_exact');
    return {
      format: 1,
      name: `spread_${this.#reports}`,
      source: 'shop',
      database: 'reports',
      inputs: [{ alias: 'p', kind: 'changes', table: 'payments' }],
      keys: [{ name: 'day', type: 'BIGINT', nullable: false }],
      measures: exact ? [...MEASURES, EXACT] : MEASURES,
      sql: `SELECT 1 AS day, ${items.join(', ')}, _w FROM p`,
      parts: 1,
    };
  }
}

/** Whether the cell is the population variance of the values. */
function isVariance(values: readonly bigint[], cell: SqlValue | undefined, scale = 1): boolean {
  const sum = values.reduce((total, value) => total + value, 0n);
  const squares = values.reduce((total, value) => total + value * value, 0n);
  const scaled = typeof cell === 'number' ? cell * scale : (cell ?? null);
  return varianceEquals({ sum, squares, count: BigInt(values.length) }, scaled);
}

function suite(open: () => Promise<FreshEngine>): void {
  let place: Place;
  let engine: SqlEngine;
  let close: () => Promise<void>;
  beforeAll(async () => {
    ({ engine, close } = await open());
    place = new Place(engine);
    await place.make();
  });
  afterAll(() => close());

  rule('job.squaresRounded', 'keep the squares of large values exactly', async () => {
    // Squares of these differ from each other by less than what a real number tells apart.
    const base = engine.kind === 'mysql' ? 2n ** 61n : 2n ** 30n;
    const values = [base + 1n, base + 2n, base + 4n];
    const rows = values.map((cents, at) => paid(1n, BigInt(at), cents, 'x'));
    const shown = await place.shown([rows, [paid(-1n, 0n, values[0] ?? null, 'x')]], [1, 2]);
    expect(isVariance(values, shown[0]?.[0]?.[1])).toBe(true);
    expect(shown[1]?.[0]?.[1]).toBe(1);
    if (engine.kind === 'mysql') expect(isVariance(values, shown[0]?.[0]?.[5], 10_000)).toBe(true);
  });

  rule(
    'merge.absentMembersCount',
    'count a value as long as a row has it, in any order of windows',
    async () => {
      const windows = [
        [paid(1n, 1n, 5n, 'a'), paid(1n, 2n, 5n, 'A'), paid(1n, 3n, null, 'a'), paid(1n, 4n, 7n, null)],
        [paid(-1n, 1n, 5n, 'a'), paid(1n, 1n, 6n, 'b')],
        [paid(-1n, 1n, 6n, 'b'), paid(-1n, 2n, 5n, 'A'), paid(-1n, 3n, null, 'a')],
        [paid(-1n, 4n, 7n, null)],
      ];
      const cells = async (order: readonly number[]): Promise<SqlValue[][]> =>
        (await place.shown(windows, order)).map((rows) => rows.flatMap((row) => row.slice(1, 5)));
      expect(await cells([1, 2, 3, 4])).toEqual([
        [expect.closeTo(8 / 9, 12), 2n, 2n, 7n],
        [expect.closeTo(2 / 3, 12), 3n, 3n, 7n],
        [0, 0n, 1n, 7n],
        [],
      ]);
      const mixed = await cells([1, 3, 2, 4]);
      expect(mixed[1]?.slice(1)).toEqual([1n, 2n, 7n]);
      expect(mixed.slice(2)).toEqual([[0, 0n, 1n, 7n], []]);
    },
  );

  it('show no variance of no values', async () => {
    const shown = await place.shown([[paid(1n, 1n, null, null), paid(1n, 2n, null, 'x')]], [1]);
    expect(shown[0]?.[0]?.slice(1, 5)).toEqual([null, 1n, 0n, null]);
  });
}

describe('variance and distinct on the embedded engine', () => {
  suite(() => freshEngine('embedded', 'measures'));
});

describe.skipIf(mariadbMissing())('variance and distinct on MariaDB', () => {
  suite(() => freshEngine('mysql', 'measures'));
});
