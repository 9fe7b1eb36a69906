import { describe, expect, it } from 'vitest';
import { checkCoLocation } from '../../src/job/sql/co-location.ts';
import type { CapturedTable, JobInput } from '../../src/job/index.ts';
import { rule } from '../support/rule.ts';

const TYPES = { id: 'BIGINT', shop: 'BIGINT', note: 'TEXT(20)', code: 'TEXT(3)' };

const captured = (
  table: string,
  shardKey: string | null,
  types: Record<string, string> = {},
): CapturedTable => ({
  table,
  schemaVersion: 1,
  columns: Object.entries({ ...TYPES, ...types }).map(([name, type]) => ({ name, type, nullable: false })),
  primaryKey: ['id'],
  shardKey,
});

const TABLES = [
  captured('orders', 'shop'),
  captured('lines', 'shop'),
  captured('strange', 'shop', { shop: 'DECIMAL(10,0)' }),
  captured('notes', 'note'),
  captured('longer', 'note', { note: 'TEXT(200)' }),
  captured('rates', null),
  captured('narrow', 'shop', { shop: 'INT UNSIGNED' }),
];

const INPUTS: Record<string, JobInput> = {
  o: { alias: 'o', kind: 'changes', table: 'orders' },
  l: { alias: 'l', kind: 'changes', table: 'lines' },
  s: { alias: 's', kind: 'state', table: 'lines' },
  x: { alias: 'x', kind: 'changes', table: 'strange' },
  n: { alias: 'n', kind: 'changes', table: 'notes' },
  m: { alias: 'm', kind: 'state', table: 'longer' },
  r: { alias: 'r', kind: 'changes', table: 'rates' },
  w: { alias: 'w', kind: 'state', table: 'narrow' },
  d: { alias: 'd', kind: 'dimension', table: 'shops' },
};

function check(aliases: string, sql: string): void {
  const inputs = Array.from(aliases, (alias) => INPUTS[alias]).filter((input) => input !== undefined);
  checkCoLocation({ name: 'sales', inputs, sql }, TABLES, 'mysql');
}

const refusal = (message: string): unknown =>
  expect.objectContaining({
    code: 'REPORT_NOT_COLOCATED',
    message: expect.stringContaining(message) as string,
  });

describe('a report on several shards', () => {
  it.each([
    ['od', 'SELECT 1 FROM o JOIN d ON d.id = o.id'],
    ['or', 'SELECT 1 FROM r JOIN o ON r.code = o.code'],
    ['ol', 'SELECT 1 FROM o JOIN l ON l.shop = o.shop AND l.id = o.id'],
    ['ol', 'SELECT 1 FROM o JOIN l ON (o.`shop` = l.SHOP) WHERE o.id > 3 OR o.id < 1'],
    ['ol', 'SELECT 1 FROM o, l WHERE ((o.id = l.id) AND (o.shop = l.shop)) ORDER BY 1'],
    ['ol', 'SELECT 1 FROM o JOIN l USING (id, shop)'],
    ['ol', 'SELECT 1 FROM o JOIN l ON o.id BETWEEN 1 AND l.id AND o.shop = l.shop'],
    ['ols', 'SELECT 1 FROM o JOIN l ON o.shop = l.shop JOIN s ON s.shop = l.shop'],
    ['ols', 'SELECT 1 FROM s JOIN o ON o.id = s.id JOIN l ON o.shop = l.shop AND l.shop = s.shop'],
    ['ow', 'SELECT 1 FROM o JOIN w ON w.shop = o.shop'],
    ['nm', 'SELECT 1 FROM n JOIN m ON n.note = m.note'],
    ['ol', 'WITH a AS (SELECT shop AS k, _w FROM o) SELECT 1 FROM a JOIN l ON l.shop = a.k'],
    ['ol', 'WITH a AS (SELECT * FROM o) SELECT 1 FROM a JOIN (SELECT l.shop k FROM l) AS b ON b.k = a.shop'],
    [
      'ol',
      `WITH a AS (SELECT o.shop, o.id FROM o WHERE o.id < 5 UNION ALL SELECT o.shop, o.id FROM o)
            SELECT 1 FROM a JOIN l ON l.shop = a.shop`,
    ],
    [
      'ord',
      'SELECT 1 FROM o UNION ALL SELECT 1 FROM (SELECT d.id FROM d JOIN r ON 1 = 1) AS q JOIN o ON 1 = 1',
    ],
  ])('with %s may be %s', (aliases, sql) => {
    expect(() => {
      check(aliases, sql);
    }).not.toThrow();
  });

  it.each([
    [
      'ol',
      'SELECT 1 FROM o JOIN l ON l.id = o.id',
      'line 1, column 22: l is joined without o.shop = l.shop by AND',
    ],
    ['ol', 'SELECT 1 FROM o JOIN l ON l.shop = o.id', 'joined without'],
    ['ol', 'SELECT 1 FROM o JOIN l ON l.shop = o.shop OR l.id = 1', 'joined without'],
    ['ol', 'SELECT 1 FROM o JOIN l ON l.shop = o.shop AND l.id = 1 OR l.id = 2', 'joined without'],
    ['ol', 'SELECT 1 FROM o JOIN l ON l.shop = o.shop || l.id = 2', 'joined without'],
    ['ol', 'SELECT 1 FROM o JOIN l ON NOT l.shop = o.shop', 'joined without'],
    ['ol', 'SELECT 1 FROM o JOIN l ON NOT (l.shop = o.shop)', 'joined without'],
    ['ol', 'SELECT 1 FROM o JOIN l ON (l.shop = o.shop) = (l.id = 2)', 'joined without'],
    ['ol', 'SELECT 1 FROM o JOIN l ON l.shop = o.shop + 1', 'joined without'],
    ['ol', 'SELECT 1 FROM o JOIN l ON l.shop >= o.shop', 'joined without'],
    ['ol', 'SELECT 1 FROM o JOIN l ON o.id BETWEEN 1 AND o.shop = l.shop', 'joined without'],
    [
      'ol',
      'SELECT 1 FROM o JOIN l ON CASE WHEN 1 AND l.shop = o.shop AND 1 THEN 1 ELSE 1 END',
      'joined without',
    ],
    ['ol', 'SELECT 1 FROM o JOIN l USING (id)', 'joined without'],
    ['ol', 'SELECT l.shop = o.shop AS same FROM o JOIN l', 'joined without'],
    ['ox', 'SELECT 1 FROM o JOIN x ON x.shop = o.shop', 'of one type'],
    ['ols', 'SELECT 1 FROM o JOIN l ON o.shop = l.shop JOIN s ON s.id = l.id', 's is joined without'],
    [
      'ol',
      'WITH a (shop, id) AS (SELECT id, shop FROM o) SELECT 1 FROM a JOIN l ON l.shop = a.shop',
      'joined',
    ],
    [
      'ol',
      'WITH a AS (SELECT id AS shop FROM o) SELECT 1 FROM a JOIN l ON l.shop = a.shop',
      'joined without',
    ],
    ['ol', 'WITH a AS (SELECT shop + 0 AS shop FROM o) SELECT 1 FROM a JOIN l ON l.shop = a.shop', 'joined'],
    ['ol', 'WITH a AS (SELECT id shop, shop id FROM o) SELECT 1 FROM a JOIN l ON l.shop = a.shop', 'joined'],
    [
      'ol',
      `WITH a AS (SELECT o.shop, o.id FROM o UNION ALL SELECT o.id, o.shop FROM o)
            SELECT 1 FROM a JOIN l ON l.shop = a.shop`,
      'joined without',
    ],
    ['or', 'SELECT 1 FROM o UNION ALL SELECT 1 FROM r', 'a branch reads replicated tables only'],
    ['rs', 'SELECT 1 FROM r', 'reads replicated tables only'],
    ['os', 'SELECT 1 FROM o WHERE EXISTS (SELECT 1 FROM s WHERE s.shop = o.shop)', 'join it instead'],
  ])('with %s must not be %s', (aliases, sql, message) => {
    expect(() => {
      check(aliases, sql);
    }).toThrow(refusal(message));
  });

  rule('job.joinsAcrossShards', 'joins what surely lies on one shard', () => {
    expect(() => {
      check('ol', 'SELECT 1 FROM o JOIN l ON l.id = o.id');
    }).toThrow(refusal('joined without'));
  });
});
