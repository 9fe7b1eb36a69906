import { describe, expect, it } from 'vitest';
import { readRows, type ContributionQuery } from '../../src/job/index.ts';
import type { SqlValue } from '../../src/sql/index.ts';
import { rule } from '../support/rule.ts';

const query: ContributionQuery = {
  report: 'sales',
  sql: '',
  params: [],
  columns: [
    { name: 'key_0', role: 'key', label: 'shop', type: 'BIGINT' },
    { name: 'key_1', role: 'key', label: 'country', type: 'TEXT(2)' },
    { name: 'row_count', role: 'weight', label: '_w', type: 'BIGINT' },
    { name: 'sum_0', role: 'sum', label: 'amount', type: 'BIGINT' },
    { name: 'sum_1', role: 'sum', label: 'price', type: 'DECIMAL(10,2)' },
  ],
};
const country = Buffer.from('de');
const read = (...row: SqlValue[]) => readRows(query, { columns: [], rows: [row], changes: 0 });

describe('the rows of a contribution', () => {
  it('pass as they are when they are exact', () => {
    expect(read(1n, country, 2n, 5n, '1.50')).toEqual([[1n, country, 2n, 5n, '1.50']]);
    expect(read(1n, country, 2n, '-99999999999999999999', '0.00')).toHaveLength(1);
  });

  rule('job.weightsRounded', 'are refused when a sum of weights may have been rounded', () => {
    expect(() => read(1n, country, 2n ** 53n, 1n, '1')).toThrow(/sum of weights of _w/);
    expect(read(1n, country, 1n - 2n ** 53n, 1n, '1')).toHaveLength(1);
  });

  it.each<[string, SqlValue[], RegExp]>([
    ['KEY_NULL', [null, country, 1n, 1n, '1'], /key shop is NULL/],
    ['KEY_NULL', [1n, null, 1n, 1n, '1'], /key country is NULL, in the row of shop = 1, country = NULL/],
    ['MEASURE_TYPE', [1.5, country, 1n, 1n, '1'], /shop is declared BIGINT, the SQL gives a real number/],
    ['MEASURE_TYPE', ['1', country, 1n, 1n, '1'], /shop is declared BIGINT, the SQL gives text/],
    ['MEASURE_TYPE', [1n, country, 1n, 0.5, '1'], /amount is declared BIGINT/],
    ['MEASURE_TYPE', [1n, country, 1n, 'x', '1'], /amount is declared BIGINT, the SQL gives text/],
    ['MEASURE_TYPE', [1n, country, 1.0, 1n, '1'], /_w is declared BIGINT/],
    ['VALUE_RANGE', [1n, country, 1n, 2 ** 63, '1'], /the sum amount does not fit 64 bits/],
    ['MEASURE_TYPE', [1n, country, null, 1n, '1'], /all weights of .* are NULL/],
  ])('are refused with %s (%#)', (code, row, message) => {
    expect(() => read(...row)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
    );
  });

  it('are, of cells, one of each key, and a tombstone of each touched key that has none', () => {
    const cells: ContributionQuery = { ...query, keysOnce: true };
    const rows = (...all: SqlValue[][]) => readRows(cells, { columns: [], rows: all, changes: 0 });
    const there = [1n, country, 1n, 5n, '1.50'];
    const gone = (shop: bigint): SqlValue[] => [shop, country, 0n, null, null];
    expect(rows(gone(1n), there, gone(2n))).toEqual([there, gone(2n)]);
    expect(() => rows(there, [...there])).toThrow(
      expect.objectContaining({
        code: 'KEY_TWICE',
        message: 'the SQL gives two rows, in the row of shop = 1, country = de',
      }),
    );
  });
});
