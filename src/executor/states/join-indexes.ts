/** Indexes of row states by the columns that reports join them by: without one, a join reads whole tables. */
import { createHash } from 'node:crypto';
import { isTidemarkError, mutated } from '../../base/index.ts';
import {
  joinColumns,
  readsStates,
  stateTable,
  type CapturedTable,
  type CompiledReport,
} from '../../job/index.ts';
import { changeColumnType } from '../../collector/index.ts';
import type { Dialect, SqlConnection, SqlEngine } from '../../sql/index.ts';
import { stateTables } from './state-catalog.ts';
import { indexedColumn, rowKeys } from './state-tables.ts';

/** What an index may hold in all on MySQL, in columns; more would not make it more selective. */
const COLUMNS_MAX = 4;
const PREFIX = 'tm_join_';

/**
 * Makes the indexes that the reports' joins need on every state table of a source. Repeating it is harmless.
 * @throws TidemarkError those of the engine.
 */
export async function createJoinIndexes(
  engine: SqlEngine,
  source: { readonly sourceId: number; readonly tables: readonly CapturedTable[] },
  reports: readonly CompiledReport[],
): Promise<void> {
  const { dialect } = engine;
  // A report over one changing input never looks a row version up: each index costs its advance.
  const wanted = reports.filter(readsStates).flatMap((report) => joinColumns(report, dialect.kind));
  if (wanted.length === 0) return;
  await engine.use('join indexes', async (connection) => {
    const there = await stateTables(connection, dialect, source.sourceId);
    for (const table of source.tables) {
      const first = stateTable({ sourceId: source.sourceId, table: table.table, schemaVersion: 1 });
      const versions = there.filter((name) => name.replace(/\d+$/, '') === first.replace(/\d+$/, ''));
      for (const { columns } of wanted.filter((join) => join.table === table.table)) {
        for (const name of versions) await createIndex(connection, dialect, { name, table, columns });
      }
    }
  });
}

/**
 * Gives the state table of a schema version the indexes of those before it.
 * @throws TidemarkError those of the engine.
 */
export async function copyJoinIndexes(
  connection: SqlConnection,
  dialect: Dialect,
  sourceId: number,
  table: CapturedTable,
): Promise<void> {
  const nameOf = (schemaVersion: number): string =>
    stateTable({ sourceId, table: table.table, schemaVersion });
  for (let version = 1; version < table.schemaVersion; version++) {
    for (const columns of await joinIndexesOf(connection, dialect, nameOf(version))) {
      await createIndex(connection, dialect, { name: nameOf(table.schemaVersion), table, columns });
    }
  }
}

async function joinIndexesOf(connection: SqlConnection, dialect: Dialect, name: string): Promise<string[][]> {
  const { rows } = await connection.query(
    dialect.kind === 'mysql'
      ? 'SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS ' +
          'WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY INDEX_NAME, SEQ_IN_INDEX'
      : 'SELECT l.name, i.name FROM pragma_index_list(?) AS l, pragma_index_info(l.name) AS i ' +
          'ORDER BY l.name, i.seqno',
    [name],
  );
  const found = new Map<string, string[]>();
  for (const [index, column] of rows) {
    if (!String(index).startsWith(PREFIX)) continue;
    found.set(String(index), [...(found.get(String(index)) ?? []), String(column)]);
  }
  return [...found.values()];
}

async function createIndex(
  connection: SqlConnection,
  dialect: Dialect,
  wanted: { readonly name: string; readonly table: CapturedTable; readonly columns: readonly string[] },
): Promise<void> {
  const { name, table } = wanted;
  const columns = wanted.columns.flatMap((column) => {
    const known = table.columns.find((one) => one.name.toLowerCase() === column.toLowerCase());
    return known === undefined ? [] : [known];
  });
  const names = columns.map((column) => column.name);
  // The primary key leads to them already, or to the one row that they can mean.
  const keys = rowKeys(dialect, table).map(({ column }) => column);
  const leading = keys.slice(0, names.length);
  const led = names.every((name) => leading.includes(name)) || keys.every((key) => names.includes(key));
  if (columns.length === 0 || columns.length > COLUMNS_MAX || led) return;
  const index = indexName(name, names);
  const list = columns
    .map((column) =>
      indexedColumn(dialect, column.name, changeColumnType(dialect, column.type), names.length),
    )
    .join(', ');
  if (dialect.kind === 'mysql' && (await hasIndex(connection, name, index))) return;
  const ifMissing = dialect.kind === 'mysql' ? '' : 'IF NOT EXISTS ';
  const sql = `CREATE INDEX ${ifMissing}${dialect.id(index)} ON ${dialect.id(name)} (${list})`;
  try {
    await connection.query(sql);
  } catch (error) {
    // Reports that are added together are prepared at once: another one may have made it since.
    if (!isTidemarkError(error, 'SQL_INVALID') || mutated('states.indexMadeTwiceFails')) throw error;
    if (!(await hasIndex(connection, name, index))) throw error;
  }
}

/** Names of indexes are the database's on the embedded engine, and bounded to 64 characters on MySQL. */
function indexName(table: string, columns: readonly string[]): string {
  return (
    PREFIX +
    createHash('sha1')
      .update([table, ...columns].join('/'))
      .digest('hex')
      .slice(0, 16)
  );
}

async function hasIndex(connection: SqlConnection, table: string, index: string): Promise<boolean> {
  const { rows } = await connection.query(
    'SELECT 1 FROM information_schema.STATISTICS ' +
      'WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND INDEX_NAME = ? LIMIT 1',
    [table, index],
  );
  return rows.length > 0;
}
