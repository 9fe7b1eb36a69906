/** The embedded engine: SQLite's dialect, with what would silently be inexact turned into an error. */
import { assertNever, TidemarkError } from '../base/index.ts';
import { parseColumnType, type DeclaredType } from './column-types.ts';
import type { Dialect } from './engine.ts';

const id = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const list = (names: readonly string[]): string => names.map(id).join(', ');
const textToBytes = (expression: string): string => `CAST(${expression} AS BLOB)`;
const bytesToText = (expression: string): string => `CAST(${expression} AS TEXT)`;

function declared(type: string): DeclaredType {
  const parsed = parseColumnType(type);
  if (parsed.kind === 'BIGINT' && parsed.bytes === 8 && parsed.unsigned) {
    throw new TidemarkError('COLUMN_TYPE', `${type} is not exact on the embedded engine`, {
      next: 'Use BIGINT, or MySQL.',
    });
  }
  if (parsed.kind !== 'DECIMAL') return parsed;
  throw new TidemarkError('DECIMAL_EMBEDDED', `${type} is not exact on the embedded engine`, {
    next: 'Use BIGINT with minor units (cents), or MySQL.',
  });
}

function columnType(type: DeclaredType): string {
  switch (type.kind) {
    case 'BIGINT':
    case 'BOOL':
    case 'YEAR':
      return 'INTEGER';
    case 'DOUBLE':
    case 'FLOAT':
      return 'REAL';
    case 'BYTES':
    case 'BIT':
      return 'BLOB';
    // Texts of these forms sort as the moments do.
    case 'DATE':
    case 'DATETIME':
    case 'TIMESTAMP':
    case 'TIME':
    case 'TEXT':
    case 'JSON':
    case 'ENUM':
    case 'SET':
      return 'TEXT';
    default:
      return refuseDecimal(type);
  }
}

function toStored(expression: string, type: DeclaredType): string {
  switch (type.kind) {
    // A cast would cut a fraction off without a word; who reads the result refuses what is no integer.
    case 'BIGINT':
    case 'YEAR':
      return expression;
    case 'BOOL':
      return `((${expression}) <> 0)`;
    case 'DOUBLE':
    case 'FLOAT':
      return `CAST(${expression} AS REAL)`;
    case 'DATE':
    case 'DATETIME':
    case 'TIMESTAMP':
    case 'TIME':
      return bytesToText(expression);
    case 'TEXT':
    case 'JSON':
    case 'ENUM':
    case 'SET':
    case 'BIT':
    case 'BYTES':
      return textToBytes(expression);
    default:
      return refuseDecimal(type);
  }
}

function refuseDecimal(type: DeclaredType): never {
  if (type.kind === 'DECIMAL') throw new TidemarkError('DECIMAL_EMBEDDED', 'DECIMAL is not exact here');
  return assertNever(type as never, 'column type');
}

/**
 * SQLite turns an integer sum that overflows into a real number. abs() of the least integer is its one way to
 * raise `integer overflow`; the column in it keeps the planner from computing it beforehand.
 */
function addExactly(table: string, column: string): string {
  const sum = `${id(table)}.${id(column)} + excluded.${id(column)}`;
  const fail = `abs(0 * ${id(table)}.${id(column)} - 9223372036854775807 - 1)`;
  return `${id(column)} = CASE typeof(${sum}) WHEN 'real' THEN ${fail} ELSE ${sum} END`;
}

/** Without a WHERE, SQLite takes the upsert's ON for that of a join (sqlite.org/lang_upsert.html, 2.2). */
function unambiguous(source: string): string {
  return /^\s*VALUES\b/i.test(source) ? source : `SELECT * FROM (${source}) WHERE true`;
}

export const embeddedDialect: Dialect = {
  kind: 'embedded',
  forUpdate: '',
  id,
  upsert({ table, columns, source, key, add = [], replace = [] }) {
    const sets = [
      ...add.map((name) => addExactly(table, name)),
      ...replace.map((name) => `${id(name)} = excluded.${id(name)}`),
    ];
    const action = sets.length === 0 ? 'NOTHING' : `UPDATE SET ${sets.join(', ')}`;
    const into = `INSERT INTO ${id(table)} (${list(columns)}) ${unambiguous(source)}`;
    return `${into} ON CONFLICT (${list(key)}) DO ${action}`;
  },
  upsertLater({ by, ...input }) {
    return `${this.upsert(input)} WHERE excluded.${id(by)} >= ${id(input.table)}.${id(by)}`;
  },
  insertIgnore({ table, columns, source, key }) {
    return this.upsert({ table, columns, source, key });
  },
  deleteSome({ table, where, key, max }) {
    const some = `SELECT ${key} FROM ${table} WHERE ${where} ORDER BY ${key} LIMIT ${max}`;
    return `DELETE FROM ${table} WHERE (${key}) IN (${some})`;
  },
  jsonRows: (body, lengths) => ({
    table: `json_each(${body}) AS j`,
    texts: lengths.map((_length, at) => `(j.value ->> ${at})`),
  }),
  fromText(text, type) {
    const { kind } = declared(type);
    if (kind === 'TEXT' || kind === 'BYTES') return `unhex(${text})`;
    return kind === 'BIGINT' || kind === 'BOOL' ? `(${text} + 0)` : text;
  },
  jsonLength: (expression) =>
    `CASE WHEN json_valid(${expression}) THEN json_array_length(${expression}) ELSE 0 END`,
  // A number that does not fit stays a text: a cast would make it the largest that does.
  exactNumber: (text) => `(${text} + 0)`,
  columnType: (type) => columnType(declared(type)),
  storedType(type) {
    const { kind } = declared(type);
    return kind === 'TEXT' || kind === 'JSON' ? 'BLOB' : columnType(declared(type));
  },
  toStored: (expression, type) => toStored(expression, declared(type)),
  fromStored(expression, type) {
    const { kind } = declared(type);
    return kind === 'TEXT' || kind === 'JSON' ? bytesToText(expression) : expression;
  },
  sumType(type) {
    declared(type);
    return 'INTEGER';
  },
  textToBytes,
  bytesToText,
  square: (expression) => `${expression} * ${expression}`,
  squaresType(type) {
    declared(type);
    return 'INTEGER';
  },
  castSquares(expression, type) {
    declared(type);
    return expression;
  },
  // Around the whole part of the mean, so that no integer on the way outgrows the sum of squares; what does
  // becomes a real number, and then the other side is far smaller.
  variance({ sum, squares, count }) {
    const rest = `(${sum} % ${count})`;
    const around = `(${squares} - (${sum} / ${count}) * (${sum} + ${rest}))`;
    return `(${count} * ${around} - ${rest} * ${rest}) * 1.0 / ${count} / ${count}`;
  },
  castSum(expression, type) {
    declared(type);
    return expression;
  },
  serverIdentity: "'embedded'",
  sessionSettings: ['PRAGMA journal_mode = WAL', 'PRAGMA synchronous = FULL', 'PRAGMA foreign_keys = ON'],
};
