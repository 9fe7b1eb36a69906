/** Values that a report's SQL cannot give exactly: the task says where, and a report never gets less. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isTidemarkError } from '../../src/base/index.ts';
import { computeContribution } from '../../src/executor/compute/compute.ts';
import { layoutOf } from '../../src/executor/sink/layout.ts';
import type { CapturedTable, CompiledReport } from '../../src/job/index.ts';
import type { SqlEngine } from '../../src/sql/index.ts';
import { freshEngine } from '../support/engines.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { makeShard, seal, SOURCE, sourceOf, writeWindow, type Change } from './states/store-shard.ts';
import { holdAll } from './held.ts';

const PAYMENTS: CapturedTable = {
  table: 'payments',
  schemaVersion: 1,
  columns: [
    { name: 'id', type: 'BIGINT', nullable: false },
    { name: 'shop', type: 'TEXT(8)', nullable: true },
    { name: 'cents', type: 'BIGINT', nullable: false },
    { name: 'pieces', type: 'BIGINT', nullable: false },
  ],
  primaryKey: ['id'],
  shardKey: 'id',
};
const SHOPS = sourceOf([PAYMENTS]);

const paid = (...row: Change['row']): Change => ({ table: 'payments', weight: 1n, row });
/** Window 1 is good; each of the others has one row that some SQL cannot take. */
const WINDOWS: readonly (readonly Change[])[] = [
  [paid(1n, 'a', 100n, 2n)],
  [paid(2n, 'a', 100n, 2n), paid(3n, 'b', 100n, 0n)],
  [paid(4n, null, 100n, 2n)],
  [paid(5n, 'b', 123_456n, 2n)],
];

function reportOf(value: string, type: string): CompiledReport {
  return {
    format: 1,
    name: 'prices',
    source: 'shop',
    database: 'reports',
    inputs: [{ alias: 'p', kind: 'changes', table: 'payments' }],
    keys: [
      { name: 'one', type: 'BIGINT', nullable: false },
      { name: 'shop', type: 'TEXT(8)', nullable: false },
    ],
    measures: [{ name: 'price', kind: 'sum', type }],
    sql: `SELECT 7 AS one, p.shop AS shop, ${value} AS price, p._w AS _w FROM p`,
    parts: 1,
  };
}

/** The first error of a window, as `CODE: message`, or the number of rows that it adds. */
async function outcome(
  store: SqlEngine,
  report: CompiledReport,
  window: number,
  timeMs = 60_000,
): Promise<string> {
  try {
    const { rowsOut } = await computeContribution({
      store,
      shard: 'main',
      layout: layoutOf({ reportId: 1, generation: 1 }, report),
      source: SHOPS,
      captured: () => PAYMENTS,
      sourceId: SOURCE,
      windows: [seal(SHOPS, window, { main: WINDOWS[window - 1]?.length ?? 0 })],
      fromStates: false,
      timeMs,
      prepared: 1n,
      marker: 'test',
      formerChains: [],
      gather: holdAll,
      signal: new AbortController().signal,
    });
    return `${rowsOut} rows`;
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    return `${error.code}: ${error.message}`;
  }
}

async function makeStore(store: SqlEngine): Promise<void> {
  await makeShard(store, SHOPS);
  for (const [at, changes] of WINDOWS.entries()) await writeWindow(store, SHOPS, at + 1, changes);
}

describe('values that SQL changes in silence on MariaDB', () => {
  describe.skipIf(mariadbMissing())('with four windows', () => {
    let store: SqlEngine;
    let close: () => Promise<void>;

    beforeAll(async () => {
      ({ engine: store, close } = await freshEngine('mysql', 'bad_values'));
      await makeStore(store);
    });

    afterAll(() => close());

    rule('job.changedValuesPass', 'a division by zero is an error that names report and window', async () => {
      const report = reportOf('p.cents / p.pieces', 'DECIMAL(12,2)');
      expect(await outcome(store, report, 1)).toBe('1 rows');
      expect(await outcome(store, report, 2)).toMatch(/^DIVISION_BY_ZERO: report prices, window 2: /);
      expect(await outcome(store, reportOf('p.cents / NULLIF(p.pieces, 0)', 'DECIMAL(12,2)'), 2)).toBe(
        '2 rows',
      );
    });

    rule(
      'job.changedValuesPass',
      'a value that does not fit its type is an error, not the largest',
      async () => {
        const report = reportOf('p.cents / 100', 'DECIMAL(5,2)');
        expect(await outcome(store, report, 1)).toBe('1 rows');
        expect(await outcome(store, report, 4)).toMatch(
          /^VALUE_RANGE: report prices, window 4: .*Out of range/,
        );
      },
    );

    rule('job.changedValuesPass', 'a text that is no number is an error, not zero', async () => {
      const report = reportOf('CAST(p.shop AS SIGNED)', 'BIGINT');
      expect(await outcome(store, report, 1)).toMatch(/^VALUE_RANGE: report prices, window 1: .*'a'/);
    });

    rule('job.cutListsPass', 'a list that is cut is an error, not its beginning', async () => {
      const list = (bytes: number) =>
        reportOf(`(SELECT LENGTH(GROUP_CONCAT(REPEAT(q.shop, ${bytes}))) FROM p AS q)`, 'BIGINT');
      expect(await outcome(store, list(500_000), 2)).toBe('2 rows');
      expect(await outcome(store, list(600_000), 2)).toMatch(/^VALUE_RANGE: .*window 2: .*GROUP_CONCAT/);
    });

    it('a text that outgrows a packet is an error, not NULL', async () => {
      const text = reportOf(`COALESCE(LENGTH(REPEAT(p.shop, 2000000000)), 1)`, 'BIGINT');
      expect(await outcome(store, text, 1)).toMatch(/^VALUE_RANGE: .*window 1: .*max_allowed_packet/);
    });

    rule('job.unseenWarningsPass', 'warnings that hide others are an error', async () => {
      const copies = Array.from({ length: 11 }, (_, at) => `p AS q${at}`).join(', ');
      // What is no compressed text is a warning for each of 2,048 rows.
      const report = reportOf(
        `(SELECT COUNT(UNCOMPRESS(CONCAT(q0.shop, 'xxxxx'))) FROM ${copies})`,
        'BIGINT',
      );
      expect(await outcome(store, report, 1)).toBe('1 rows');
      expect(await outcome(store, report, 2)).toMatch(/^VALUE_RANGE: .*window 2: .*1024 warnings or more/);
    });

    rule('compute.selectOutlastsTask', 'SQL that outlasts its task says so before that ends', async () => {
      const report = reportOf('p.cents + SLEEP(0.4)', 'BIGINT');
      expect(await outcome(store, report, 1)).toBe('1 rows');
      expect(await outcome(store, report, 1, 250)).toMatch(/^SQL_TOO_SLOW: report prices, window 1: /);
    });

    it('an integer that outgrows 64 bits, and a NULL key, name report and window too', async () => {
      const large = reportOf('p.cents * 9223372036854775807', 'BIGINT');
      expect(await outcome(store, large, 1)).toMatch(/^VALUE_RANGE: report prices, window 1: .*out of range/);
      expect(await outcome(store, reportOf('p.cents', 'BIGINT'), 3)).toBe(
        'KEY_NULL: report prices, window 3: key shop is NULL, in the row of one = 7, shop = NULL',
      );
    });
  });
});

describe('values that SQL cannot give on the embedded engine', () => {
  let store: SqlEngine;
  let close: () => Promise<void>;

  beforeAll(async () => {
    ({ engine: store, close } = await freshEngine('embedded', 'bad_values'));
    await makeStore(store);
  });

  afterAll(() => close());

  it('are errors that name report, window and row', async () => {
    expect(await outcome(store, reportOf('p.cents', 'BIGINT'), 3)).toMatch(
      /^KEY_NULL: report prices, window 3: key shop is NULL, in the row of one = 7, shop = NULL$/,
    );
    expect(await outcome(store, reportOf('p.cents * 1.5', 'BIGINT'), 2)).toMatch(
      /^MEASURE_TYPE: report prices, window 2: price is declared BIGINT.* in the row of one = 7, shop = a$/,
    );
    const large = reportOf('p.cents * 9223372036854775807', 'BIGINT');
    expect(await outcome(store, large, 1)).toMatch(/^VALUE_RANGE: report prices, window 1: /);
  });
});
