/**
 * The tables of the row states (design 6.6): per captured table and schema version the versions of its rows,
 * valid for the windows from `_from` up to, but without, `_to`; and one mark per source.
 */
import { must } from '../../base/index.ts';
import { changeColumnType } from '../../collector/index.ts';
import { stateTable, type CapturedTable, type CompiledSource } from '../../job/index.ts';
import type { Dialect, SqlEngine } from '../../sql/index.ts';
import { markTableSql } from './state-mark.ts';

/** A part of what tells one row of a table from another: a column of the state table, and how it is made. */
export interface RowKey {
  readonly column: string;
  /** Over the columns of the captured table. */
  readonly expression: string;
  readonly ddl: string;
}

/** Longer keys are told apart by a digest: MySQL's keys have 3,072 bytes in all. */
const KEY_BYTES_MAX = 700;
/** What an index holds of a row's shard key, in characters or bytes, at most. */
const INDEXED_LENGTH_MAX = 700;

/**
 * Makes the tables of a source's row states on a store shard, unless they exist. Repeating it is harmless.
 * @throws TidemarkError `COLUMN_TYPE`, `DECIMAL_EMBEDDED`, and those of the engine.
 */
export async function createStateTables(
  engine: SqlEngine,
  sourceId: number,
  source: CompiledSource,
): Promise<void> {
  await engine.use('state tables', async (connection) => {
    await connection.query(markTableSql(engine.dialect));
    for (const table of source.tables) {
      for (const sql of stateTableSql(engine.dialect, sourceId, table)) await connection.query(sql);
    }
  });
}

/**
 * The columns that tell rows apart. On MySQL a text is compared with its trailing blanks left out, and so by
 * its bytes here: both rows may be there. Of long ones a digest is kept: as UTF-8, what is a key of the
 * source may be too long for one.
 */
export function rowKeys(dialect: Dialect, table: CapturedTable): RowKey[] {
  return table.primaryKey.map((name, at): RowKey => {
    const { type } = must(
      table.columns.find((column) => column.name === name),
      'a column of the primary key',
    );
    const ddl = changeColumnType(dialect, type);
    const padded = dialect.kind === 'mysql' && /^(?:VARCHAR|CHAR|LONG)/.test(ddl);
    if (!padded) return { column: name, expression: dialect.id(name), ddl };
    const bytes = dialect.toStored(dialect.id(name), type);
    const stored = dialect.storedType(type);
    const long = Number(/\((\d+)/.exec(stored)?.[1]) > KEY_BYTES_MAX;
    return long
      ? { column: `_key_${at}`, expression: `UNHEX(SHA2(${bytes}, 256))`, ddl: 'BINARY(32)' }
      : { column: `_key_${at}`, expression: bytes, ddl: stored };
  });
}

/** Makes the statements that create a table of row states; they are harmless when repeated. */
export function stateTableSql(dialect: Dialect, sourceId: number, table: CapturedTable): string[] {
  const name = stateTable({ sourceId, table: table.table, schemaVersion: table.schemaVersion });
  const keys = rowKeys(dialect, table);
  const own = new Set(table.columns.map((column) => column.name));
  const big = `${dialect.columnType('BIGINT')} NOT NULL`;
  const primary = [...keys.map(({ column }) => column), '_from'].map((part) => dialect.id(part));
  const columns = [
    ...table.columns.map(
      ({ name: column, type }) => `${dialect.id(column)} ${changeColumnType(dialect, type)}`,
    ),
    ...keys.filter(({ column }) => !own.has(column)).map(({ column, ddl }) => `${dialect.id(column)} ${ddl}`),
    `${dialect.id('_from')} ${big}`,
    `${dialect.id('_to')} ${big}`,
    `PRIMARY KEY (${primary.join(', ')})`,
  ];
  // Open versions are asked for when a schema version begins, closed ones when they are dropped.
  const to = dialect.id('_to');
  if (dialect.kind === 'mysql') {
    columns.push(`KEY ${to} (${to})`);
    const options = ' ENGINE = InnoDB ROW_FORMAT = DYNAMIC';
    return [`CREATE TABLE IF NOT EXISTS ${dialect.id(name)} (${columns.join(', ')})${options}`];
  }
  return [
    `CREATE TABLE IF NOT EXISTS ${dialect.id(name)} (${columns.join(', ')}) WITHOUT ROWID`,
    `CREATE INDEX IF NOT EXISTS ${dialect.id(`${name}_to`)} ON ${dialect.id(name)} (${to})`,
  ];
}

/** A column as an index of `of` columns names it: of long ones MySQL takes the beginning. */
export function indexedColumn(dialect: Dialect, name: string, ddl: string, of: number): string {
  const most = Math.floor(INDEXED_LENGTH_MAX / of);
  const characters = /^(?:VAR)?(?:CHAR|BINARY)\((\d+)/.exec(ddl)?.[1];
  const long = dialect.kind === 'mysql' && (/^LONG/.test(ddl) || Number(characters ?? 0) > most);
  return `${dialect.id(name)}${long ? `(${most})` : ''}`;
}
