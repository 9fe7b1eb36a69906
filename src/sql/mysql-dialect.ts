/** MySQL and MariaDB: one dialect, written in what both understand. */
import { TidemarkError, assert, assertNever } from '../base/index.ts';
import { COLUMN_TYPE_NAMES, parseColumnType, type DeclaredType } from './column-types.ts';
import type { Dialect } from './engine.ts';

/** A key must be comparable byte by byte, so the collation is the binary one of the character set. */
const TEXT_ATTRIBUTES = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const UTF8_BYTES_MAX = 4;
/** SUM() over DECIMAL adds 22 digits (MySQL reference manual, 12.25.3); so do we, up to the engine's 65. */
const SUM_DIGITS = 22;
const DECIMAL_DIGITS_MAX = 65;

/** Nothing is cut off, rounded into range or taken for something else without an error. */
const SQL_MODE = [
  'STRICT_TRANS_TABLES',
  'STRICT_ALL_TABLES',
  'ERROR_FOR_DIVISION_BY_ZERO',
  'NO_ENGINE_SUBSTITUTION',
  'ONLY_FULL_GROUP_BY',
].join(',');

/** Warnings of a statement that can be read. Where there are so many, there may be others that cannot. */
export const WARNINGS_SHOWN_MAX = 1_024;
/** Bytes that GROUP_CONCAT, and MariaDB's JSON_ARRAYAGG, give at most: MySQL's own 1,024 are too few. */
const LIST_BYTES_MAX = 1_048_576;

const id = (name: string): string => `\`${name.replaceAll('`', '``')}\``;
const list = (names: readonly string[]): string => names.map(id).join(', ');
const textToBytes = (expression: string): string => `CAST(CONVERT(${expression} USING utf8mb4) AS BINARY)`;
const bytesToText = (expression: string): string => `CONVERT(${expression} USING utf8mb4)`;

function columnType(type: DeclaredType): string {
  switch (type.kind) {
    case 'BIGINT':
      return integerType(type);
    case 'DATE':
    case 'DOUBLE':
    case 'FLOAT':
    case 'YEAR':
      return type.kind;
    case 'DATETIME':
    case 'TIME':
      return `${type.kind}(${type.digits})`;
    case 'TIMESTAMP':
      // NULL said explicitly: without it the first TIMESTAMP column of a table updates itself.
      return `TIMESTAMP(${type.digits}) NULL`;
    case 'BOOL':
      return 'TINYINT';
    case 'JSON':
      return `LONGTEXT ${TEXT_ATTRIBUTES}`;
    case 'DECIMAL':
      return `DECIMAL(${type.precision},${type.scale})`;
    case 'TEXT':
      return `VARCHAR(${type.length}) ${TEXT_ATTRIBUTES}`;
    case 'BYTES':
      return `${type.fixed ? 'BINARY' : 'VARBINARY'}(${type.length})`;
    case 'BIT':
      return `BIT(${type.bits})`;
    case 'ENUM':
    case 'SET':
      return `${type.kind}(${type.members.map(member).join(',')}) ${TEXT_ATTRIBUTES}`;
    default:
      return assertNever(type, 'column type');
  }
}

/**
 * An UNSIGNED integer below 64 bits is kept in the next larger signed one, which holds the same values:
 * MySQL refuses the product of an unsigned value and a weight of -1.
 */
function integerType({ bytes, unsigned }: Extract<DeclaredType, { kind: 'BIGINT' }>): string {
  const names = { 1: 'TINYINT', 2: 'SMALLINT', 3: 'MEDIUMINT', 4: 'INT', 8: 'BIGINT' } as const;
  const wider = { 1: 2, 2: 3, 3: 4, 4: 8 } as const;
  if (!unsigned) return names[bytes];
  return bytes === 8 ? 'BIGINT UNSIGNED' : names[wider[bytes]];
}

const member = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;

function storedType(type: DeclaredType): string {
  switch (type.kind) {
    case 'BIGINT':
      return type.unsigned ? 'BIGINT UNSIGNED' : 'BIGINT';
    case 'TEXT':
      return `VARBINARY(${type.length * UTF8_BYTES_MAX})`;
    case 'JSON':
      return 'LONGBLOB';
    // A TIMESTAMP moves with the session's time zone; what is stored was computed under UTC.
    case 'TIMESTAMP':
    case 'DATETIME':
      return 'DATETIME(6)';
    case 'TIME':
      return 'TIME(6)';
    default:
      return columnType(type);
  }
}

function toStored(expression: string, type: DeclaredType): string {
  switch (type.kind) {
    case 'BIGINT':
      // A cast would make a negative value a huge one without a word; this product of it is an error.
      return type.unsigned
        ? `IF(${expression} < 0, ${expression} * CAST(1 AS UNSIGNED), CAST(${expression} AS UNSIGNED))`
        : `CAST(${expression} AS SIGNED)`;
    case 'BOOL':
      return `CAST((${expression}) <> 0 AS SIGNED)`;
    case 'DATE':
      return `CAST(${expression} AS DATE)`;
    case 'DATETIME':
    case 'TIMESTAMP':
      return `CAST(${expression} AS DATETIME(6))`;
    case 'TIME':
      return `CAST(${expression} AS TIME(6))`;
    case 'DECIMAL':
      return `CAST(${expression} AS DECIMAL(${type.precision},${type.scale}))`;
    case 'TEXT':
    case 'JSON':
      return textToBytes(expression);
    case 'BYTES':
      return `CAST(${expression} AS BINARY)`;
    case 'DOUBLE':
      return expression;
    case 'FLOAT':
    case 'YEAR':
    case 'BIT':
    case 'ENUM':
    case 'SET':
      throw new TidemarkError('COLUMN_TYPE', `${type.kind} is a type of captured columns only`, {
        next: `Declare one of ${COLUMN_TYPE_NAMES}, and CAST in the SQL.`,
      });
    default:
      return assertNever(type, 'column type');
  }
}

function fromText(text: string, type: DeclaredType): string {
  switch (type.kind) {
    case 'BIGINT':
      return `CAST(${text} AS ${type.unsigned ? 'UNSIGNED' : 'SIGNED'})`;
    case 'BOOL':
      return `CAST(${text} AS SIGNED)`;
    case 'TEXT':
    case 'BYTES':
      return `UNHEX(${text})`;
    default:
      return toStored(text, type);
  }
}

function sumType(type: DeclaredType): string {
  if (type.kind !== 'DECIMAL') return 'DECIMAL(38,0)';
  return `DECIMAL(${Math.min(type.precision + SUM_DIGITS, DECIMAL_DIGITS_MAX)},${type.scale})`;
}

/** A square has twice the digits after the point; before it there is room for those of any sum. */
function squaresType(type: DeclaredType): string {
  return `DECIMAL(${DECIMAL_DIGITS_MAX},${type.kind === 'DECIMAL' ? 2 * type.scale : 0})`;
}

/** An integer as a DECIMAL: the product of two of 64 bits does not fit 64 bits. */
function widened(expression: string, type: DeclaredType): string {
  return type.kind === 'DECIMAL' ? expression : `CAST(${expression} AS DECIMAL(20,0))`;
}

export const mysqlDialect: Dialect = {
  kind: 'mysql',
  forUpdate: ' FOR UPDATE',
  id,
  upsert({ table, columns, source, key, add = [], replace = [] }) {
    const sets = [
      ...add.map((name) => `${id(name)} = ${id(table)}.${id(name)} + VALUES(${id(name)})`),
      // VALUES(): MariaDB lacks the row alias that MySQL 8 would prefer.
      ...replace.map((name) => `${id(name)} = VALUES(${id(name)})`),
    ];
    const [first] = key;
    assert(first !== undefined, 'an upsert has a key');
    if (sets.length === 0) sets.push(`${id(first)} = ${id(table)}.${id(first)}`);
    return `INSERT INTO ${id(table)} (${list(columns)}) ${source} ON DUPLICATE KEY UPDATE ${sets.join(', ')}`;
  },
  upsertLater({ table, columns, source, key, replace, by }) {
    const isLater = `VALUES(${id(by)}) >= ${id(table)}.${id(by)}`;
    // Assignments are made from left to right, so what they compare is assigned last.
    const sets = [...replace.filter((name) => name !== by), by].map(
      (name) => `${id(name)} = IF(${isLater}, VALUES(${id(name)}), ${id(table)}.${id(name)})`,
    );
    assert(key.length > 0, 'an upsert has a key');
    return `INSERT INTO ${id(table)} (${list(columns)}) ${source} ON DUPLICATE KEY UPDATE ${sets.join(', ')}`;
  },
  insertIgnore({ table, columns, source, key }) {
    return this.upsert({ table, columns, source, key });
  },
  deleteSome: ({ table, where, key, max }) =>
    `DELETE FROM ${table} WHERE ${where} ORDER BY ${key} LIMIT ${max}`,
  jsonRows(body, lengths) {
    const columns = lengths.map(
      (length, at) =>
        `v${at} VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin PATH '$[${at}]' ` +
        'ERROR ON EMPTY ERROR ON ERROR',
    );
    const table = `JSON_TABLE(${body}, '$[*]' COLUMNS (${columns.join(', ')})) AS j`;
    return { table, texts: lengths.map((_length, at) => `j.v${at}`) };
  },
  fromText: (text, type) => fromText(text, parseColumnType(type)),
  jsonLength: (expression) => `IF(JSON_VALID(${expression}), JSON_LENGTH(${expression}), 0)`,
  exactNumber: (text, scale) => `CAST(${text} AS DECIMAL(${DECIMAL_DIGITS_MAX},${scale}))`,
  columnType: (type) => columnType(parseColumnType(type)),
  storedType: (type) => storedType(parseColumnType(type)),
  toStored: (expression, type) => toStored(expression, parseColumnType(type)),
  fromStored: (expression, type) => (isText(parseColumnType(type)) ? bytesToText(expression) : expression),
  sumType: (type) => sumType(parseColumnType(type)),
  textToBytes,
  bytesToText,
  square: (expression, type) => `(${widened(expression, parseColumnType(type))} * ${expression})`,
  squaresType: (type) => squaresType(parseColumnType(type)),
  castSquares: (expression, type) => `CAST(${expression} AS ${squaresType(parseColumnType(type))})`,
  variance({ sum, squares, count, type }) {
    const square = `${widened(sum, parseColumnType(type))} * ${sum}`;
    return `(${count} * ${squares} - ${square}) * 1e0 / ${count} / ${count}`;
  },
  castSum: (expression, type) => `CAST(${expression} AS ${sumType(parseColumnType(type))})`,
  // The server's own id differs among the members of a replication; a uuid of its own MariaDB lacks.
  serverIdentity: "SHA1(CONCAT(@@hostname, '/', @@port, '/', @@server_id, '/', @@datadir))",
  sessionSettings: [
    [
      'SET NAMES utf8mb4 COLLATE utf8mb4_bin',
      "SESSION time_zone = '+00:00'",
      `SESSION sql_mode = '${SQL_MODE}'`,
      'SESSION lock_wait_timeout = 10',
      // Servers may be set up otherwise; what a report's SQL means is not theirs to choose.
      'SESSION div_precision_increment = 4',
      'SESSION default_week_format = 0',
      "SESSION lc_time_names = 'en_US'",
      'SESSION sql_auto_is_null = 0',
      'SESSION sql_select_limit = 18446744073709551615',
      `SESSION group_concat_max_len = ${LIST_BYTES_MAX}`,
      // At 0, which a server may be set to, no warning is shown, and changed values pass.
      `SESSION max_error_count = ${WARNINGS_SHOWN_MAX}`,
    ].join(', '),
    'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  ],
};

function isText(type: DeclaredType): boolean {
  return type.kind === 'TEXT' || type.kind === 'JSON';
}
