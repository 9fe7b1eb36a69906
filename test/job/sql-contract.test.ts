import { describe, expect, it } from 'vitest';
import type { EngineKind } from '../../src/sql/index.ts';
import { tokenize } from '../../src/sql/index.ts';
import { check, JOINED } from './contract-check.ts';

describe('SQL that a report may have', () => {
  it.each([
    'SELECT a, _w FROM o',
    'select o.a, o._w from o, m where m.id = o.id order by 1',
    'SELECT a, _w FROM o UNION ALL SELECT b, _w FROM o',
    '(SELECT a, _w FROM o) UNION ALL (SELECT b, _w FROM o)',
    'WITH x AS (SELECT a, _w FROM o), y (a, _w) AS (SELECT a, _w FROM x) ' +
      'SELECT a, _w FROM y UNION ALL SELECT a, _w FROM x',
    'SELECT t.a, t._w FROM (SELECT a, _w FROM o WHERE a > 1) AS t INNER JOIN m USING (id)',
    'SELECT a, _w FROM (o JOIN m ON m.id = o.id)',
    'SELECT a, _w FROM (o JOIN (SELECT id FROM m) AS mm ON mm.id = o.id)',
    'SELECT o.count, o.sum, o._w FROM o -- SUM(x) GROUP BY LIMIT\n/* DISTINCT; */',
    "SELECT 'SUM(x) ; ? @v', `group by`, _w FROM `o`",
    'SELECT SUBSTRING(a FROM 2), EXTRACT(DAY FROM d), TRIM(BOTH FROM t), LEFT(a, 2), RIGHT(a, 1), _w FROM o',
    'SELECT CASE WHEN a IN (SELECT id FROM m) THEN 1 END, _w FROM o',
    'SELECT a, _w FROM o WHERE EXISTS (SELECT 1 FROM m WHERE m.id = o.id)',
    'SELECT o.a, x._w FROM o AS x JOIN m AS o2 ON o2.id = x.id',
    'SELECT a, _w FROM ((SELECT a, _w FROM o) UNION ALL (SELECT b, _w FROM o)) AS t JOIN m ON m.id = t.a',
    'SELECT a, t._w FROM ((SELECT a, _w FROM o)) AS t',
    'SELECT a, _w FROM ((SELECT a, _w FROM o) AS t JOIN m ON m.id = t.a)',
  ])('%s', (sql) => {
    expect(check(sql)).toBeUndefined();
  });
});

describe('SQL that no report may have', () => {
  it.each([
    ['', /empty/],
    ['SELECT a, _w FROM o;', /semicolon/],
    ['SELECT a, _w FROM o; DROP TABLE x', /semicolon/],
    ['SELECT a, ? FROM o', /parameters/],
    ['SELECT a, @v FROM o', /variables/],
    ['SELECT SUM(a), _w FROM o', /the aggregate SUM\(\)/],
    ['SELECT DISTINCT a, _w FROM o', /DISTINCT/],
    ['SELECT a, _w FROM o GROUP BY a', /GROUP BY/],
    ['SELECT a, _w FROM o HAVING a > 1', /HAVING/],
    ['SELECT a, _w FROM o LIMIT 10', /LIMIT/],
    ['SELECT a, _w FROM o FETCH FIRST 10 ROWS ONLY', /FETCH FIRST/],
    ['SELECT a, _w FROM o ORDER BY a OFFSET 2 ROWS', /OFFSET/],
    ['SELECT "sum"(a), _w FROM o', /the aggregate SUM\(\)/],
    ['SELECT lower_quartile(a), _w FROM o', /the aggregate LOWER_QUARTILE\(\)/],
    ['SELECT [sum](a), _w FROM o', /quoted as `name`/],
    ['SELECT shop.of(a), _w FROM o', /no functions of a database/],
    ['SELECT a, _w FROM o WHERE a IN (TABLE orders)', /read as \(SELECT/],
    ['SELECT a, _w FROM ((SELECT a, _w FROM o) UNION ALL (SELECT id, 1 FROM m)) AS t', /another does not/],
    ['SELECT a, _w FROM ((SELECT a, _w FROM o) UNION ALL SELECT id, 1 FROM m) AS t', /another does not/],
    ['SELECT ROW_NUMBER() OVER (ORDER BY a), _w FROM o', /window function/],
    ['SELECT a, _w FROM o UNION SELECT a, _w FROM o', /UNION without ALL/],
    ['SELECT a, _w FROM o EXCEPT SELECT a, _w FROM o', /EXCEPT is not additive/],
    ['SELECT a, _w FROM o LEFT JOIN m ON m.id = o.id', /LEFT JOIN/],
    ['SELECT a, _w FROM o NATURAL JOIN m', /NATURAL JOIN/],
    ['SELECT NOW(), _w FROM o', /NOW gives another value/],
    ['SELECT CURRENT_TIMESTAMP, _w FROM o', /CURRENT_TIMESTAMP gives another/],
    ['SELECT a, _w FROM orders', /orders is no input/],
    ['SELECT a, _w FROM shop.o', /by their alias/],
    ['SELECT a, _w FROM oo', /did you mean o\?/],
    ['SELECT id, 1 AS _w FROM m', /does not read the changes/],
    ['SELECT a, _w FROM o UNION ALL SELECT id, 1 FROM m', /does not read the changes/],
    ['SELECT a, _w FROM (SELECT a, _w FROM o UNION ALL SELECT id, 1 FROM m) AS t', /another does not/],
    ['WITH o AS (SELECT * FROM m) SELECT a, _w FROM o', /has this name already/],
    [
      'WITH RECURSIVE x AS (SELECT a, _w FROM o UNION ALL SELECT a, _w FROM x) SELECT a, _w FROM x',
      /recursive/,
    ],
    ['SELECT (a, _w FROM o', /not closed/],
    ['SELECT a), _w FROM o', /without an opening/],
    ["SELECT 'a, _w FROM o", /not closed/],
    ['SELECT a /* , _w FROM o', /comment is not closed/],
    ['SELECT a /*! , SUM(b) */, _w FROM o', /executable comment/],
    ['SELECT a, _w FROM', /ends too early|name is expected|does not read/],
  ])('%s', (sql, message) => {
    const error = check(sql);
    expect(error?.message).toMatch(message);
    expect(error?.code).toBe('SQL_INVALID');
  });
});

it('on the embedded engine reads no table by IN without a SELECT', () => {
  expect(check('SELECT a, _w FROM o WHERE a IN m', 'embedded')?.message).toMatch(/read as \(SELECT/);
  expect(check('SELECT a, _w FROM o WHERE a NOT IN (1, 2)', 'embedded')).toBeUndefined();
});

describe('SQL that writes', () => {
  it.each(['UPDATE o SET a = 1', 'delete from o', 'INSERT INTO o SELECT a, _w FROM o', 'CALL clean_up()'])(
    'is refused as such: %s',
    (sql) => {
      expect(check(sql)).toMatchObject({
        code: 'SQL_WRITES',
        message: expect.stringContaining('is no SELECT') as string,
      });
    },
  );
});

describe('a divisor on the embedded engine, which makes NULL of a division by zero and says nothing', () => {
  it.each(['a / 100', 'a % 7', 'a / 0.5', 'a / NULLIF(b, 0)', 'a % nullif(b, 0)', "'a / b'"])(
    'may be: %s',
    (value) => {
      expect(check(`SELECT ${value} AS a, _w FROM o`, 'embedded')).toBeUndefined();
    },
  );

  it.each(['a / b', 'a % b', 'a / 0', 'a % 0.5', 'a / (b + 1)', 'MOD(a, b)', 'a / NULLIF'])(
    'may not be: %s',
    (value) => {
      expect(check(`SELECT ${value} AS a, _w FROM o`, 'embedded')).toMatchObject({
        code: 'SQL_INVALID',
        message: expect.stringContaining('may divide by zero') as string,
      });
      expect(check(`SELECT ${value} AS a, _w FROM o`)).toBeUndefined();
    },
  );
});

describe('SQL that class affectedKeys computes', () => {
  it.each([
    ['SELECT a, _w FROM (SELECT a, SUM(_w) AS _w FROM o GROUP BY a) AS t', /SUM\(\) is not additive/],
    ['SELECT t.a, t._w FROM o AS t JOIN o AS u ON u.id = t.id', /joined with themselves/],
    ['WITH x AS (SELECT a, _w FROM o) SELECT x.a, o._w FROM x, o', /joined with themselves/],
    ['SELECT a, _w FROM o WHERE a IN (SELECT a FROM o)', /subquery in an expression reads the changes/],
    ['SELECT a, _w FROM (SELECT a, _w FROM o LIMIT 1) AS t', /LIMIT is not additive/],
    ['SELECT a, _w FROM (SELECT a, _w FROM o FETCH NEXT ROW ONLY) AS t', /FETCH NEXT is not additive/],
    ['SELECT a, _w FROM (o LEFT JOIN m ON m.id = o.id)', /LEFT JOIN is not additive/],
  ])('%s', (sql, message) => {
    const error = check(sql);
    expect(error?.message).toMatch(message);
    expect(error?.message).toContain('write class: affectedKeys');
    expect(error?.code).toBe('JOB_UNSUPPORTED');
  });
});

describe('SQL over several changing inputs', () => {
  it.each([
    'SELECT o.a, o._w * l._w AS _w FROM o JOIN l ON l.id = o.id',
    'SELECT o.a, l._w*o._w _w FROM o, l, m WHERE l.id = o.id AND m.id = l.id -- the end',
    'SELECT x.a, `y`._w * x._w AS `_w` FROM o AS x INNER JOIN l y USING (id)',
    'SELECT o.a, o._w * l._w * s._w AS _w FROM o JOIN l ON l.id = o.id JOIN s ON s.id = l.id',
    'WITH x AS (SELECT o.a, o.id, o._w FROM o), y AS (SELECT l.id, l._w FROM l WHERE l.n > 1) ' +
      'SELECT x.a, x._w * y._w AS _w FROM x JOIN y ON x.id = y.id',
    'WITH x AS (SELECT o.a, o._w * l._w AS _w FROM o JOIN l ON l.id = o.id) ' +
      'SELECT a, _w FROM x UNION ALL SELECT a + 1, _w FROM x',
    'SELECT o.a, o._w * l._w AS _w FROM o JOIN l ON l.id = o.id ' +
      'UNION ALL SELECT l.a, o._w * l._w FROM o JOIN l ON l.id = o.a',
    'SELECT t.a, t._w * l._w AS _w FROM (SELECT a, id, _w FROM o) AS t JOIN l ON l.id = t.id',
  ])('%s', (sql) => {
    expect(check(sql, 'mysql', JOINED)).toBeUndefined();
  });

  it.each([
    ['SELECT o.a, o._w AS _w FROM o JOIN l ON l.id = o.id', /returns o\._w \* l\._w AS _w/],
    ['SELECT o.a, o._w * o._w AS _w FROM o JOIN l ON l.id = o.id', /returns o\._w \* l\._w/],
    ['SELECT o.a, o._w * l._w * l._w AS _w FROM o JOIN l ON l.id = o.id', /returns o\._w \* l\._w/],
    ['SELECT o.a, o._w + l._w AS _w FROM o JOIN l ON l.id = o.id', /returns o\._w \* l\._w/],
    ['SELECT o.a, 1 AS _w FROM o AS x JOIN l AS y ON y.id = x.id', /returns x\._w \* y\._w/],
    ['SELECT o.*, l.* FROM o JOIN l ON l.id = o.id', /returns o\._w \* l\._w/],
    ['SELECT a, _w FROM o', /does not read the changes input l/],
    [
      'SELECT o.a, o._w * l._w AS _w FROM o JOIN l ON l.id = o.id UNION ALL SELECT l.a, l._w FROM l',
      /does not read the changes input o/,
    ],
    [
      'SELECT o.a, o._w * l._w AS _w FROM o JOIN l ON l.id = o.id ' +
        'UNION ALL SELECT o.a, o._w FROM o JOIN l ON l.id = o.id',
      /returns o\._w \* l\._w/,
    ],
    [
      'WITH x AS (SELECT o.a, o._w AS _w FROM o JOIN l ON l.id = o.id) SELECT a, _w FROM x',
      /returns o\._w \* l\._w/,
    ],
  ])('not %s', (sql, message) => {
    const error = check(sql, 'mysql', JOINED);
    expect(error?.message).toMatch(message);
    expect(error?.code).toBe('SQL_INVALID');
  });
});

describe('tokens', () => {
  const texts = (sql: string, kind: EngineKind): string[] => tokenize(sql, kind).map((token) => token.text);

  it('follow the engine: backslashes and comments differ', () => {
    expect(texts(String.raw`'a\' , b'`, 'mysql')).toEqual([String.raw`'a\' , b'`]);
    expect(texts(String.raw`'a\' , b`, 'embedded')).toEqual([String.raw`'a\'`, ',', 'b']);
    expect(texts('a--1 # x\nb', 'mysql')).toEqual(['a', '-', '-', '1', 'b']);
    expect(texts('a--1 ; x\nb', 'embedded')).toEqual(['a', 'b']);
  });

  it('know their depth and place', () => {
    const tokens = tokenize("f(a, (b)) 'it''s' `x``y` .5e-3", 'mysql');
    expect(tokens.map((token) => [token.text, token.depth])).toEqual([
      ['f', 0],
      ['(', 0],
      ['a', 1],
      [',', 1],
      ['(', 1],
      ['b', 2],
      [')', 1],
      [')', 0],
      ["'it''s'", 0],
      ['`x``y`', 0],
      ['.5e-3', 0],
    ]);
  });
});
