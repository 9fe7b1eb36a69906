import { describe, expect, it } from 'vitest';
import { columnsUsed } from '../../src/job/sql/columns-used.ts';

const COLUMNS = ['id', 'shop', 'cents'];

describe('columns that a report may read', () => {
  it.each([
    ['SELECT o.shop AS shop, COUNT(*) AS n FROM o GROUP BY o.shop HAVING COUNT( * ) > 1', ['shop']],
    ['SELECT `Shop`, 2 * (cents) * 3 FROM o', ['shop', 'cents']],
    ['SELECT * FROM o', COLUMNS],
    ['SELECT 1, o.* FROM o', COLUMNS],
    ['SELECT DISTINCT * FROM o', COLUMNS],
    ['SELECT 1 FROM o NATURAL JOIN p', COLUMNS],
  ])('of %s', (sql, used) => {
    expect(columnsUsed(sql, 'mysql', COLUMNS)).toEqual(used);
  });
});
