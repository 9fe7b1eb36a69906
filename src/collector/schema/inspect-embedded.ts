/** Reads tables of an embedded database. Its types are hints: each value is checked as it is captured. */
import { TidemarkError } from '../../base/index.ts';
import type { SqlConnection, SqlValue } from '../../sql/index.ts';
import type { InspectedTable } from './inspect-source.ts';

const TEXT_LENGTH_MAX = 16_000;
const BYTES_LENGTH_MAX = 65_000;

/** @throws TidemarkError `TABLE_MISSING`, `COLUMN_TYPE`, `DECIMAL_EMBEDDED`, `TABLE_NO_PRIMARY_KEY`. */
export async function inspectEmbeddedTable(
  connection: SqlConnection,
  table: string,
): Promise<InspectedTable> {
  const found = await connection.query(
    `SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?) WHERE EXISTS ` +
      `(SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?) ORDER BY cid`,
    [table, table],
  );
  if (found.rows.length === 0) {
    throw new TidemarkError('TABLE_MISSING', `there is no table ${table} in the source's database`, {
      next: 'Check its name and letter case.',
    });
  }
  const columns = found.rows.map(([name, type, notNull, pk, hidden]) => ({
    name: textOf(name),
    type: typeOf(table, textOf(name), textOf(type), hidden !== 0n),
    nullable: notNull === 0n && pk === 0n,
    notNull: notNull !== 0n,
    keyAt: Number(pk),
  }));
  const key = columns.filter(({ keyAt }) => keyAt > 0).sort((a, b) => a.keyAt - b.keyAt);
  checkKey(table, key);
  return {
    columns: columns.map(({ name, type, nullable }) => ({ name, type, nullable })),
    primaryKey: key.map(({ name }) => name),
    cascade: await cascadeOf(connection, table),
    secondUnique: await secondUniqueOf(connection, table),
  };
}

/** SQLite lets the columns of most primary keys be NULL, and rows with such a key repeat. */
function checkKey(table: string, key: readonly { name: string; type: string; notNull: boolean }[]): void {
  if (key.length === 1 && key[0]?.type === 'BIGINT') return;
  const loose = key.find(({ notNull }) => !notNull);
  if (loose === undefined) return;
  throw new TidemarkError(
    'TABLE_NO_PRIMARY_KEY',
    `${table}.${loose.name} is part of the key and may be NULL`,
    {
      next: `Declare ${loose.name} NOT NULL.`,
    },
  );
}

function typeOf(table: string, column: string, declared: string, hidden: boolean): string {
  const [, name = '', length] = /^\s*([A-Za-z ]+?)\s*(?:\(\s*(\d+)[^)]*\))?\s*$/.exec(declared) ?? [];
  const bounded = (max: number): number => Math.max(1, Math.min(Number(length ?? max), max));
  if (!hidden) {
    switch (name.toUpperCase()) {
      case 'INTEGER':
      case 'INT':
      case 'BIGINT':
      case 'SMALLINT':
      case 'TINYINT':
      case 'MEDIUMINT':
      case 'BOOLEAN':
      case 'BOOL':
        return 'BIGINT';
      case 'TEXT':
      case 'VARCHAR':
      case 'CHAR':
        return `TEXT(${bounded(TEXT_LENGTH_MAX)})`;
      case 'BLOB':
      case 'BINARY':
      case 'VARBINARY':
        return `BYTES(${bounded(BYTES_LENGTH_MAX)})`;
      case 'DATE':
        return 'DATE';
      case 'DATETIME':
      case 'TIMESTAMP':
        return 'DATETIME(6)';
      case 'DECIMAL':
      case 'NUMERIC':
        throw new TidemarkError(
          'DECIMAL_EMBEDDED',
          `${table}.${column} is ${declared}, which is not exact here`,
          {
            next: 'Store integer minor units (cents), or use MySQL.',
          },
        );
      default:
    }
  }
  throw new TidemarkError(
    'COLUMN_TYPE',
    `${table}.${column} has type ${declared || 'none'}, which cannot be captured`,
    {
      next: 'INTEGER, TEXT, BLOB, DATE and DATETIME can.',
    },
  );
}

/** A UNIQUE index that is not the primary key, or undefined. */
export async function secondUniqueOf(connection: SqlConnection, table: string): Promise<string | undefined> {
  const { rows } = await connection.query(
    `SELECT name FROM pragma_index_list(?) WHERE "unique" = 1 AND origin <> 'pk'`,
    [table],
  );
  const index = rows[0]?.[0];
  return index === undefined ? undefined : `UNIQUE index ${textOf(index)}`;
}

/** Refused as on MySQL, so that a job that runs embedded runs there too. */
async function cascadeOf(connection: SqlConnection, table: string): Promise<string | undefined> {
  const { rows } = await connection.query(
    `SELECT "from" FROM pragma_foreign_key_list(?) ` +
      `WHERE on_delete NOT IN ('NO ACTION', 'RESTRICT') OR on_update NOT IN ('NO ACTION', 'RESTRICT')`,
    [table],
  );
  const column = rows[0]?.[0];
  return column === undefined ? undefined : `of column ${textOf(column)}`;
}

function textOf(value: SqlValue | undefined): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value ?? '');
}
