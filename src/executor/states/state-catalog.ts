/** What the database itself says of the tables of row states: also of versions that nobody names any more. */
import { stateTablePrefix } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';

/** Returns the names of all state tables of a source. @throws TidemarkError those of the engine. */
export async function stateTables(
  connection: SqlConnection,
  dialect: Dialect,
  sourceId: number,
): Promise<string[]> {
  const { rows } = await connection.query(
    dialect.kind === 'mysql'
      ? 'SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()'
      : `SELECT name FROM sqlite_master WHERE type = 'table'`,
  );
  return rows.map(([name]) => String(name)).filter((name) => name.startsWith(stateTablePrefix(sourceId)));
}

/** Returns the columns of a table with their types, as the engine writes them. */
export async function columnTypes(
  connection: SqlConnection,
  dialect: Dialect,
  table: string,
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await connection.query(
    dialect.kind === 'mysql'
      ? 'SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS ' +
          'WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?'
      : 'SELECT name, type FROM pragma_table_info(?)',
    [table],
  );
  return new Map(rows.map(([name, type]) => [String(name), String(type)]));
}
