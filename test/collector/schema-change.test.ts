import { describe, expect, it } from 'vitest';
import { touchedColumns } from '../../src/collector/schema/alter-clauses.ts';
import { brokenColumns, redefine } from '../../src/collector/schema/schema-change.ts';
import { columnsUsed } from '../../src/job/sql/columns-used.ts';
import type { CapturedTable, ColumnSpec } from '../../src/job/index.ts';
import { rule } from '../support/rule.ts';

const column = (name: string, declared: string, nullable = true): ColumnSpec => ({
  name,
  type: 'not read here',
  nullable,
  declared,
});

const keyed = (declared: string): CapturedTable => ({
  table: 't',
  schemaVersion: 1,
  columns: [column('c', declared)],
  primaryKey: ['c'],
  shardKey: 'c',
});

const broken = (before: ColumnSpec[], after: ColumnSpec[], statement: string): string[] =>
  brokenColumns(before, after, touchedColumns(statement)).map((one) => one.column);

describe('touchedColumns', () => {
  it.each([
    ['ALTER TABLE t ADD a INT, DROP COLUMN IF EXISTS b', ['a', 'b'], []],
    [
      'ALTER TABLE t CHANGE COLUMN a b INT(11), MODIFY c DECIMAL (10,2) NOT NULL',
      ['a', 'b'],
      ['c DECIMAL 10 2'],
    ],
    ['ALTER TABLE t RENAME COLUMN `A` TO b, RENAME INDEX i TO j', ['a', 'b'], []],
    ['ALTER TABLE t CHANGE a A integer unsigned', [], ['a INT UNSIGNED']],
    ['ALTER TABLE t DROP PRIMARY KEY, ADD CONSTRAINT c CHECK (x > 0), DROP FOREIGN KEY f', [], []],
    ['ALTER TABLE t ALTER COLUMN a DROP DEFAULT, ADD INDEX (a)', [], []],
  ])('reads %s', (statement, remade, retyped) => {
    const touched = touchedColumns(statement);
    expect([...touched.remade].sort()).toEqual(remade);
    expect([...touched.retyped].map(([name, type]) => `${name} ${type}`)).toEqual(retyped);
  });

  it('reads a conversion of the character set', () => {
    expect(touchedColumns('ALTER TABLE t CONVERT TO CHARACTER SET latin1 COLLATE x').converted).toBe(
      'latin1',
    );
    expect(touchedColumns('ALTER TABLE t CONVERT TO CHARSET utf8mb4').converted).toBe('utf8mb4');
  });
});

describe('brokenColumns', () => {
  const name = column('name', 'varchar(20) character set latin1');
  const amount = column('amount', 'int(11)');

  it('lets columns be added, moved and left alone', () => {
    const after = [column('more', 'int(11)'), amount, name];
    expect(broken([name, amount], after, 'ALTER TABLE t ADD more INT FIRST')).toEqual([]);
  });

  rule('collector.remadeColumnKept', 'a column made anew is another, although it looks as before', () => {
    expect(broken([name, amount], [name, amount], 'ALTER TABLE t DROP name')).toEqual(['name']);
    expect(broken([name, amount], [name, amount], 'ALTER TABLE t ADD name VARCHAR(20)')).toEqual(['name']);
  });

  rule('collector.addedWhereItIs', 'leaves a column alone that is added only if it is not there', () => {
    const both = [name, amount];
    expect(broken(both, both, 'ALTER TABLE t ADD COLUMN IF NOT EXISTS name INT')).toEqual([]);
    expect(broken(both, both, 'ALTER TABLE t ADD IF NOT EXISTS name INT')).toEqual([]);
    expect(broken(both, both, 'ALTER TABLE t DROP COLUMN IF EXISTS gone')).toEqual([]);
    const remade = ['DROP name', 'CHANGE name other INT', 'RENAME COLUMN name TO other'];
    for (const clause of remade) {
      const statement = `ALTER TABLE t ${clause}, ADD COLUMN IF NOT EXISTS name INT`;
      expect(broken(both, both, statement)).toEqual(['name']);
    }
  });

  it('breaks what is gone or was renamed', () => {
    const after = [column('label', 'varchar(20) character set latin1'), amount];
    expect(broken([name, amount], after, 'ALTER TABLE t RENAME COLUMN name TO label')).toEqual(['name']);
  });

  rule('collector.anyTypeIsWider', 'a type that cannot hold every value breaks the column', () => {
    const pairs: readonly (readonly [string, string])[] = [
      ['int(11)', 'smallint(6)'],
      ['int(11)', 'int(10) unsigned'],
      ['bigint(20)', 'varchar(20) character set utf8mb4'],
      ['varchar(20) character set latin1', 'varchar(10) character set latin1'],
      ['varchar(20) character set utf8mb4', 'varchar(20) character set latin1'],
      ['varchar(20) character set utf8mb4', 'char(20) character set utf8mb4'],
      ['decimal(10,2)', 'decimal(10,1)'],
      ['datetime(6)', 'datetime'],
      ['timestamp', 'datetime'],
      [`enum('a','b') character set latin1`, `enum('b','a') character set latin1`],
    ];
    for (const [was, is] of pairs) {
      expect([was, is, broken([column('c', was)], [column('c', is)], '')]).toEqual([was, is, ['c']]);
    }
  });

  rule('collector.digitsOfTimeAdded', 'a moment with more digits is another text, so another key', () => {
    for (const [was, is] of [
      ['datetime', 'datetime(6)'],
      ['timestamp', 'timestamp(6)'],
      ['time', 'time(3)'],
    ] as const) {
      const change = (): unknown => redefine(keyed(was), keyed(is), touchedColumns(''));
      expect(broken([column('c', was)], [column('c', is)], '')).toEqual(['c']);
      expect(change).toThrow('its key column c');
    }
  });

  it.each([
    ['int(11)', 'bigint(20)'],
    ['smallint(5) unsigned', 'int(10) unsigned'],
    ['varchar(20) character set latin1', 'varchar(40) character set utf8mb4'],
    ['char(3) character set utf8mb4', 'varchar(3) character set utf8mb4'],
    ['text character set utf8mb4', 'longtext character set utf8mb4'],
    ['decimal(10,2)', 'decimal(14,2)'],
  ])('lets %s become %s', (was, is) => {
    expect(broken([column('c', was)], [column('c', is)], '')).toEqual([]);
  });

  it('trusts a type only if it is the one that the statement gave it', () => {
    const wide = [column('c', 'bigint(20)')];
    expect(broken([column('c', 'int(11)')], wide, 'ALTER TABLE t MODIFY c BIGINT')).toEqual([]);
    // Made smaller, then wide again before anybody looked: what did not fit in between was cut off.
    expect(broken([column('c', 'int(11)')], wide, 'ALTER TABLE t MODIFY c TINYINT')).toEqual(['c']);
    const utf8 = [column('c', 'varchar(20) character set utf8mb4')];
    expect(broken(utf8, utf8, 'ALTER TABLE t CONVERT TO CHARACTER SET latin1')).toEqual(['c']);
  });

  it('breaks a column that may have lost its NULLs', () => {
    expect(broken([amount], [column('amount', 'int(11)', false)], '')).toEqual(['amount']);
  });
});

describe('columnsUsed', () => {
  const columns = ['id', 'name', 'Total', 'at'];

  it.each([
    ['SELECT o.name, o.total AS t, o._w FROM o', ['name', 'Total']],
    ["SELECT 'id' AS label, `at` FROM o -- name", ['at']],
    ['SELECT a * id AS x FROM o', ['id']],
    ['SELECT o.* FROM o', columns],
    ['WITH x AS (SELECT * FROM o) SELECT 1 AS one, _w FROM x', columns],
    ['SELECT 1 FROM o NATURAL JOIN p', columns],
  ])('of %s', (sql, used) => {
    expect(columnsUsed(sql, 'mysql', columns)).toEqual(used);
  });
});
