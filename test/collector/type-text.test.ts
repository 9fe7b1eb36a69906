/** Types as statements write them and as the server shows them: one text for both. */
import { describe, expect } from 'vitest';
import { inspectSource } from '../../src/collector/index.ts';
import { wordsOf } from '../../src/collector/schema/statement-words.ts';
import { typeText } from '../../src/collector/schema/type-text.ts';
import { must } from '../../src/base/index.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { openFixture } from './fixtures.ts';

const WRITTEN = [
  ...['TINYINT', 'INT(5)', 'INTEGER', 'INT UNSIGNED', 'INTEGER(3) UNSIGNED', 'INT ZEROFILL', 'BIGINT SIGNED'],
  ...[
    'INT1',
    'INT2',
    'INT3',
    'MIDDLEINT',
    'INT4',
    'INT8',
    'BOOL',
    'BOOLEAN',
    'MEDIUMINT(4) ZEROFILL UNSIGNED',
  ],
  ...[
    'DECIMAL',
    'DECIMAL(10)',
    'DEC(12)',
    'NUMERIC(12,3)',
    'FIXED(5, 5)',
    'DECIMAL UNSIGNED',
    'DEC(7) ZEROFILL',
  ],
  ...['FLOAT', 'FLOAT(24)', 'FLOAT(25)', 'FLOAT(53)', 'FLOAT(7,3)', 'FLOAT4', 'FLOAT8', 'REAL', 'REAL(8,2)'],
  ...['DOUBLE', 'DOUBLE PRECISION', 'DOUBLE(9,1)', 'DOUBLE UNSIGNED', 'BIT', 'BIT(1)', 'BIT(17)'],
  ...['YEAR', 'YEAR(4)', 'DATE', 'TIME', 'TIME(0)', 'TIME(3)', 'DATETIME', 'DATETIME(0)', 'DATETIME(6)'],
  ...['TIMESTAMP(0) NULL', 'TIMESTAMP(2) NULL', 'CHAR', 'CHAR(1)', 'CHAR(9)', 'CHARACTER(9)', 'NCHAR(3)'],
  ...['NATIONAL CHAR', 'NATIONAL CHARACTER(4)', 'VARCHAR(7)', 'CHAR VARYING(7)', 'CHARACTER VARYING(7)'],
  ...[
    'NVARCHAR(5)',
    'NATIONAL VARCHAR(5)',
    'NCHAR VARCHAR(5)',
    'NATIONAL CHARACTER VARYING(5)',
    'VARCHARACTER(5)',
  ],
  ...[
    'BINARY',
    'BINARY(4)',
    'VARBINARY(4)',
    'TEXT',
    'TINYTEXT',
    'MEDIUMTEXT',
    'LONGTEXT',
    'BLOB',
    'LONGBLOB',
  ],
  ...['LONG', 'LONG VARCHAR', 'LONG VARBINARY', 'JSON', "ENUM('a','b')", "SET('x')"],
];

describe.skipIf(mariadbMissing())('a type', () => {
  rule(
    'collector.typesAsWritten',
    'is the same in a statement and in the definition that it makes',
    async () => {
      const fixture = await openFixture('mysql');
      try {
        const columns = WRITTEN.map((type, at) => `c${at} ${type}`).join(', ');
        await fixture.exec(`CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, ${columns})`);
        const table = must(
          (await inspectSource(fixture.source, { tables: [{ table: 't' }] }))[0],
          'the table',
        );
        const shown = table.columns.slice(1).map(({ declared = '' }) => typeText(wordsOf(declared)));
        expect(WRITTEN.map((type) => typeText(wordsOf(type)))).toEqual(shown);
      } finally {
        await fixture.close();
      }
    },
  );
});
