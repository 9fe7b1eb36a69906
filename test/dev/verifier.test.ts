/**
 * The verifier must be able to say no: ten wrong cells are planted, one at a time, and each must be found.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import { runLoad, SAMPLE_REPORTS, sampleSchema, seedDimensions } from '../../src/dev/sample/index.ts';
import { verifyReports } from '../../src/dev/verify/index.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { wholeReportSql } from './whole-report.ts';

/** Each breaks one thing that a reader of the reports would see, and takes it back. */
const PLANTED: readonly {
  readonly what: string;
  readonly table: string;
  readonly plant: string;
  readonly column: string;
}[] = [
  {
    what: 'a count off by one',
    table: 'order_status',
    plant: 'UPDATE order_status SET orders = orders + 1',
    column: 'orders',
  },
  {
    what: 'a sum off by one',
    table: 'customer_value',
    plant: 'UPDATE customer_value SET spent = spent - 1 WHERE rowid = 1',
    column: 'spent',
  },
  {
    what: 'a least value that was deleted',
    table: 'product_prices',
    plant: 'UPDATE product_prices SET lowest_price = lowest_price - 1 WHERE rowid = 3',
    column: 'lowest_price',
  },
  {
    what: 'a greatest value that was deleted',
    table: 'merchant_day_sales',
    plant: 'UPDATE merchant_day_sales SET largest_order = largest_order + 1 WHERE rowid = 2',
    column: 'largest_order',
  },
  {
    what: 'an average of other rows',
    table: 'category_sales',
    plant: 'UPDATE category_sales SET average_discount = average_discount + 0.0001 WHERE rowid = 1',
    column: 'average_discount',
  },
  {
    what: 'a NULL for a value',
    table: 'refund_reasons',
    plant: 'UPDATE refund_reasons SET smallest = NULL WHERE rowid = 1',
    column: 'smallest',
  },
  {
    what: 'values that count as NULL',
    table: 'country_hour_orders',
    plant: `UPDATE country_hour_orders SET tipped = 0
      WHERE rowid = (SELECT MIN(rowid) FROM country_hour_orders WHERE tips IS NOT NULL)`,
    column: 'tipped',
  },
  {
    what: 'a missing row',
    table: 'tier_discounts',
    plant: 'DELETE FROM tier_discounts WHERE rowid = 4',
    column: '(row)',
  },
  {
    what: 'a row too many',
    table: 'merchant_statement',
    plant: `INSERT INTO merchant_statement
      SELECT merchant_id, business_day, 'gross ', size_band, entries, amount, average
      FROM merchant_statement WHERE rowid = 1`,
    column: '(row)',
  },
  {
    what: 'a key in other letters',
    table: 'tier_discounts',
    plant: `UPDATE tier_discounts SET tier = 'GOLD'
      WHERE rowid = (SELECT MIN(rowid) FROM tier_discounts WHERE tier = 'gold')`,
    column: '(row)',
  },
];

describe('the verifier', () => {
  let folder = '';
  let source: SqlEngine;
  let sink: SqlEngine;
  const run = (engine: SqlEngine, sql: string) => engine.use('test', (connection) => connection.query(sql));

  /**
   * The right reports, as plain tables of one file; the source's tables are there too, so that SQL can fill
   * them.
   */
  const fill = async (table: string): Promise<void> => {
    const report = SAMPLE_REPORTS.find(({ name }) => name === table);
    await run(sink, `DROP TABLE IF EXISTS ${table}`);
    if (report !== undefined)
      await run(sink, `CREATE TABLE ${table} AS ${wholeReportSql(report, sink.dialect)}`);
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-verifier-'));
    source = openEngine({ kind: 'embedded', file: join(folder, 'both.db') });
    sink = openEngine({ kind: 'embedded', file: join(folder, 'both.db') });
    for (const statement of sampleSchema('embedded')) await run(source, statement);
    await source.use('test', seedDimensions);
    const totals = { changes: 0, transactions: 0, rolledBack: 0, failed: 0 };
    const enough = {
      get aborted() {
        return totals.changes >= 1_500;
      },
    } as AbortSignal;
    await runLoad({ source, seed: 3, clock: systemClock, rate: 20_000, signal: enough }, totals);
    for (const { name } of SAMPLE_REPORTS) await fill(name);
  });
  afterAll(async () => {
    await source.close();
    await sink.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('finds nothing wrong where nothing is', async () => {
    const found = await verifyReports({ source, sink });
    expect(found.wrong).toEqual([]);
    expect(found.reports).toBe(SAMPLE_REPORTS.length);
    expect(found.cells).toBeGreaterThan(1_000);
  });

  it.each(PLANTED)('finds $what in $table', async ({ table, plant, column }) => {
    await run(sink, plant);
    const { wrong } = await verifyReports({ source, sink });
    expect(wrong.length).toBeGreaterThan(0);
    expect(new Set(wrong.map(({ report }) => report))).toEqual(new Set([table]));
    expect(wrong.map((cell) => cell.column)).toContain(column);
    await fill(table);
    expect((await verifyReports({ source, sink })).wrong).toEqual([]);
  });
});
