import Database from 'libsql';
import { describe, expect, it } from 'vitest';
import { rule } from '../support/rule.ts';
import { check } from './contract-check.ts';

const refused = (value: string, kind: 'mysql' | 'embedded' = 'mysql'): void => {
  const error = check(`SELECT ${value} AS a, _w FROM o`, kind);
  expect(error?.message, value).toMatch(/gives another value each time/);
  expect(error?.code).toBe('SQL_INVALID');
};

/** What libsql does not say of, and gives the same each time: arithmetic, text, and places of rows. */
const SAME_EACH_TIME = new Set(
  (
    'acos acosh asin asinh atan atan2 atanh atn2 ceil ceiling charindex cos cosh cot coth degrees ' +
    'difference exp floor leftstr ln log log10 padc padl padr pi power proper radians replicate reverse ' +
    'rightstr sign sin sinh sqrt square strfilter tan tanh lsmode geopoly_debug rtreecheck rtreedepth ' +
    'rtreenode'
  ).split(' '),
);
/** Only a full-text table has these, which no input is. */
const OF_FULL_TEXT = new Set('bm25 fts5 highlight match matchinfo offsets optimize snippet'.split(' '));

describe('a value that differs from time to time', () => {
  rule('job.unstableValuesPass', 'is refused, whatever it depends on', () => {
    for (const value of [
      ...['NOW(6)', 'CURDATE()', 'CURRENT_TIME(3)', 'UNIX_TIMESTAMP()', 'UNIX_TIMESTAMP( )', 'SYSDATE()'],
      ...['RAND()', 'SYS_GUID()', 'RANDOM_BYTES(8)', 'UUID_SHORT()', "ENCRYPT('a')", 'ROWNUM()'],
      ...['CURRENT_USER', 'USER()', 'SESSION_USER()', 'CURRENT_ROLE', 'DATABASE()', 'SCHEMA()'],
      ...['CONNECTION_ID()', 'LAST_INSERT_ID()', 'ROW_COUNT()', 'FOUND_ROWS()', 'VERSION()'],
      ...['SLEEP(1)', "BENCHMARK(9, MD5('a'))", "GET_LOCK('a', 1)", "LOAD_FILE('a')", 'NEXTVAL(s)'],
      ...['NEXT VALUE FOR s', 'PREVIOUS VALUE FOR s', '`RAND`()', "MASTER_POS_WAIT('a', 1)"],
    ]) {
      refused(value);
    }
  });

  it.each([
    ...['@a', '@@hostname', '@@session.last_insert_id', '@a := 1'],
    ...['mariadb_schema.rand()', 'shop.next_number()'],
  ])('is no variable, and no function of a database: %s', (value) => {
    expect(check(`SELECT ${value} AS a, _w FROM o`)?.code).toBe('SQL_INVALID');
  });

  it.each([
    ...['date()', "date('now')", "datetime('NOW', '-1 day')", "strftime('%Y', 'now')", "strftime('%Y')"],
    ...["unixepoch('subsec')", 'julianday()', "timediff('now', o.a)", "time(o.a, 'localtime')"],
    ...["datetime(o.a, 'unixepoch', 'utc')", '"random"()', 'CURRENT_TIMESTAMP'],
  ])('is the present time or chance on the embedded engine: %s', (value) => {
    refused(value, 'embedded');
  });

  it.each([
    ...["date(o.a / 1000, 'unixepoch')", "strftime('%Y-%m', o.a)", "datetime(o.a, '+1 day', 'subsec')"],
    ...['timediff(o.a, o.b)', 'o.user', 'o.version', "'now'"],
  ])('is not %s on the embedded engine', (value) => {
    expect(check(`SELECT ${value} AS a, _w FROM o`, 'embedded')).toBeUndefined();
  });

  it.each([
    ...['UNIX_TIMESTAMP(o.at)', 'DATE(o.at)', 'o.user', 'schema', "CONVERT_TZ(o.at, '+00:00', '+02:00')"],
    ...['YEAR(o.at)', 'previous', 'o.`rand`', 'FROM_UNIXTIME(o.n)', 'fetch', 'OFFSET'],
  ])('is not %s', (value) => {
    expect(check(`SELECT ${value} AS a, _w FROM o`)).toBeUndefined();
  });

  it('is what the embedded engine itself does not call deterministic', () => {
    const engine = new Database(':memory:');
    const listed = engine
      .prepare('SELECT name, flags & 0x800 AS same, type FROM pragma_function_list')
      .all() as { readonly name: string; readonly same: number; readonly type: string }[];
    engine.close();
    expect(listed.length).toBeGreaterThan(100);
    for (const { name, same, type } of listed) {
      if (same !== 0 || SAME_EACH_TIME.has(name) || OF_FULL_TEXT.has(name)) continue;
      const value = name.startsWith('current_') ? name : `${name}(a)`;
      const windowed = type === 's' ? value : `${value} OVER (ORDER BY a)`;
      expect(check(`SELECT ${windowed} AS a, _w FROM o`, 'embedded')?.code, name).toBe('SQL_INVALID');
    }
  });
});
