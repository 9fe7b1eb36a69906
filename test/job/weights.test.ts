import { describe, expect, it } from 'vitest';
import { rule } from '../support/rule.ts';
import { check, JOINED } from './contract-check.ts';

describe('the weight of a result row', () => {
  it.each([
    'SELECT a, _w FROM o',
    'SELECT a, o._w AS `_w` FROM o',
    'SELECT a, O._W _w FROM o',
    "SELECT a, _w AS '_w' FROM o",
    'SELECT a, x._w FROM o AS x JOIN m ON m.id = x.id',
    'SELECT _w, a FROM o UNION ALL SELECT o._w, b FROM o UNION ALL SELECT _w AS n, c FROM o',
    'WITH x AS (SELECT * FROM o) SELECT a, _w FROM x',
    'WITH x AS (SELECT o.*, m.country FROM o JOIN m ON m.id = o.id) SELECT country, _w FROM x',
    'WITH x AS (SELECT * FROM o JOIN m ON m.id = o.id) SELECT * FROM x',
    'WITH x (k, _w) AS (SELECT a, o._w FROM o) SELECT k, _w FROM x',
    'WITH x (_w, k) AS (SELECT o._w AS n, a FROM o UNION ALL SELECT o._w, b FROM o) SELECT k, _w FROM x',
    '(WITH x AS (SELECT a, _w FROM o) SELECT a, _w FROM x) UNION ALL (SELECT a, _w FROM o)',
    'SELECT a, _w FROM o UNION ALL (WITH x AS (SELECT a, _w AS _w FROM o) SELECT a, x._w FROM x)',
    'SELECT a, t._w FROM (SELECT a, _w FROM (SELECT a, _w FROM o) AS u) AS t WHERE a > 1',
  ])('is passed on: %s', (sql) => {
    expect(check(sql)).toBeUndefined();
  });

  it.each([
    'SELECT o.a, o._w * l._w AS _w FROM o JOIN l ON l.id = o.id JOIN s ON s.id = l.id',
    'SELECT o.a, o._w * l._w AS _w FROM o JOIN l ON l.id = o.id JOIN (SELECT * FROM s) AS t ON t.id = o.id',
    'SELECT o.a, s._w * l._w * o._w AS _w FROM o JOIN l ON l.id = o.id JOIN s ON s.id = l.id',
    'WITH x AS (SELECT o.*, s.country FROM o JOIN s ON s.id = o.id) ' +
      'SELECT x.country, x._w * l._w AS _w FROM x JOIN l ON l.id = x.id',
  ])('is passed on by joins: %s', (sql) => {
    expect(check(sql, 'mysql', JOINED)).toBeUndefined();
  });

  const CHANGED: readonly (readonly [string, RegExp])[] = [
    ['SELECT a, 1 AS _w FROM o', /a SELECT of changes returns o\._w AS _w/],
    ['SELECT a, -o._w AS _w FROM o', /returns o\._w AS _w/],
    ['SELECT a, ABS(o._w) AS _w FROM o', /returns o\._w AS _w/],
    ['SELECT a, ABS(_w) FROM o', /returns o\._w AS _w/],
    ['SELECT a, o._w * 2 AS _w FROM o', /returns o\._w AS _w/],
    ['SELECT a, o._w * o._w AS _w FROM o', /returns o\._w AS _w/],
    ['SELECT a, o._w * o.b AS _w FROM o', /returns o\._w AS _w/],
    ['SELECT a, 1 + o._w FROM o', /returns o\._w AS _w/],
    ['SELECT a, m._w AS _w FROM o JOIN m ON m.id = o.id', /returns o\._w AS _w/],
    ['SELECT a FROM o', /returns o\._w AS _w/],
    ['SELECT a, _w, o._w AS _w FROM o', /once and as it stands/],
    ['SELECT *, _w FROM o', /once and as it stands/],
    ["SELECT a, 1 AS '_w', o._w FROM o", /once and as it stands/],
    ['SELECT a, _w FROM o UNION ALL SELECT a, 1 FROM o', /returns o\._w AS _w/],
    ['SELECT a, _w FROM o UNION ALL SELECT o._w, a FROM o', /returns o\._w AS _w/],
    ['SELECT * FROM o UNION ALL SELECT * FROM o', /no \*/],
    ['(WITH x AS (SELECT a, _w FROM o) SELECT * FROM x) UNION ALL (SELECT _w, a FROM o)', /no \*/],
    ['WITH x AS (SELECT a, 1 AS _w FROM o) SELECT a, _w FROM x', /returns o\._w AS _w/],
    ['WITH x AS (SELECT a FROM o) SELECT a, 1 AS _w FROM x', /returns o\._w AS _w/],
    ['WITH x (_w, k) AS (SELECT a, _w FROM o) SELECT k, _w FROM x', /returns o\._w AS _w/],
    ['WITH x (k, n) AS (SELECT a, _w FROM o) SELECT k, n AS _w FROM x', /returns o\._w AS _w/],
    ['WITH x (k, _w) AS (SELECT * FROM o) SELECT k, _w FROM x', /no \*/],
    ['SELECT a, t._w FROM (SELECT a, -_w AS _w FROM o) AS t', /returns o\._w AS _w/],
  ];
  rule('job.weightsAsWritten', 'is what the change row has, and no other', () => {
    for (const [sql, message] of CHANGED) {
      const error = check(sql);
      expect(error?.message, sql).toMatch(message);
      expect(error?.code).toBe('SQL_INVALID');
    }
  });

  it.each([
    'SELECT a, _w FROM o WHERE _w > 0',
    'SELECT a, _w FROM o WHERE o.`_w` > 0',
    'SELECT a * _w AS a, _w FROM o',
    'SELECT CASE WHEN o._w < 0 THEN 1 ELSE 2 END AS a, _w FROM o',
    'SELECT _w AS a, _w FROM o',
    'SELECT a, _w FROM o JOIN m ON m.id = o._w',
    'SELECT a, _w FROM o JOIN m USING (_w)',
    'SELECT a, _w FROM o ORDER BY _w',
    'SELECT a, _w FROM o WHERE a IN (SELECT id FROM m WHERE m.n = o._w)',
    'SELECT a, _w FROM o WHERE 0 < (SELECT _w FROM m WHERE m.id = o.id)',
    'SELECT a, o._w FROM o JOIN (SELECT id, 5 AS _w FROM m) AS t ON t.id = o.id',
    'WITH x AS (SELECT a, _w, _w AS n FROM o) SELECT a, _w FROM x WHERE n > 0',
    'WITH x (a, _w, n) AS (SELECT a, _w, _w FROM o) SELECT a, _w FROM x WHERE n > 0',
    'SELECT a, t._w FROM (SELECT b, _w FROM o) AS t (_w, a)',
  ])('is read nowhere else: %s', (sql) => {
    const error = check(sql);
    expect(error?.message).toMatch(/reads it nowhere else/);
    expect(error?.code).toBe('SQL_INVALID');
  });

  it.each([
    `SELECT "o".'_w' AS n, a, _w FROM o`,
    'SELECT a, _w FROM o WHERE "_w" > 0',
    'SELECT a, _w FROM o WHERE o."_w" > 0',
  ])('is read nowhere else on the embedded engine: %s', (sql) => {
    expect(check(sql, 'embedded')?.message).toMatch(/reads it nowhere else/);
  });

  it.each([
    ['SELECT o.a, _w FROM o JOIN s ON s.id = o.id', /returns o\._w \* l\._w AS _w|does not read/],
    ['SELECT o.a, s._w AS _w FROM o JOIN l ON l.id = o.id JOIN s ON s.id = o.id', /returns o\._w \* l\._w/],
    ['SELECT o.a, o._w*l._w*s._w*s._w AS _w FROM o, l, s', /returns o\._w \* l\._w/],
    ['SELECT o.a, o._w * l._w * AS _w FROM o, l', /returns o\._w \* l\._w/],
    ['SELECT o.a, (o._w * l._w) + 1 AS _w FROM o, l', /returns o\._w \* l\._w/],
    ['SELECT * FROM o JOIN l ON l.id = o.id', /returns o\._w \* l\._w/],
    ['SELECT * FROM (SELECT o._w * l._w AS _w FROM o JOIN l ON l.id = o.id) AS t JOIN s', /returns t\._w/],
    [
      'SELECT o.a, o._w * l._w AS _w FROM o, l, (SELECT id, _w FROM s UNION ALL SELECT id, 2 FROM s) AS t',
      /a branch returns no _w and another does/,
    ],
  ])('of a join is the product of them all: %s', (sql, message) => {
    const error = check(sql, 'mysql', JOINED);
    expect(error?.message).toMatch(message);
    expect(error?.code).toBe('SQL_INVALID');
  });

  it('is told where it stands', () => {
    expect(check('SELECT a,\n  1 AS _w FROM o')?.message).toContain('line 2, column 3');
  });
});
