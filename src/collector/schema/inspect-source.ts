/**
 * Reads the shape of what a job wants captured, and refuses what could not be captured exactly. Nothing is
 * changed in the database.
 */
import { LIMITS, TidemarkError } from '../../base/index.ts';
import type { CapturedTable, ColumnSpec } from '../../job/index.ts';
import type { SqlEngine } from '../../sql/index.ts';
import { inspectEmbeddedTable } from './inspect-embedded.ts';
import { inspectMysqlServer, inspectMysqlTable } from './inspect-mysql.ts';

export interface TableRequest {
  readonly table: string;
  /** The column that decides the store shard; null: replicated. @default the first primary key column */
  readonly shardKey?: string | null;
}

/** A table as it stands in the database. */
export interface InspectedTable {
  readonly columns: readonly ColumnSpec[];
  readonly primaryKey: readonly string[];
  /** Why its changes could not be told, or undefined. */
  readonly cascade: string | undefined;
  /** A UNIQUE index beside the primary key, where removing rows for its sake could not be told. */
  readonly secondUnique: string | undefined;
}

/** Names that stay names wherever they are written: in a change table, a report's SQL, a table's name. */
const NAME = /^[A-Za-z][A-Za-z0-9_]*$/;

/**
 * Reads the captured tables of a source, in the order asked for.
 * @throws TidemarkError `TABLE_MISSING`, `TABLE_NO_PRIMARY_KEY`, `TABLE_CASCADES`, `TABLE_SECOND_UNIQUE`,
 * `COLUMN_TYPE`, `BINLOG_NOT_ROW`, `BINLOG_NO_GTID`, `DB_ACCESS`, `DB_*`.
 */
export async function inspectSource(
  engine: SqlEngine,
  { tables }: { readonly tables: readonly TableRequest[] },
): Promise<CapturedTable[]> {
  return await engine.use('inspect', async (connection) => {
    if (engine.kind === 'mysql') await inspectMysqlServer(connection);
    const captured: CapturedTable[] = [];
    for (const request of tables) {
      checkName('table', request.table);
      const inspect = engine.kind === 'mysql' ? inspectMysqlTable : inspectEmbeddedTable;
      captured.push(capturedTable(request, await inspect(connection, request.table)));
    }
    return captured;
  });
}

/**
 * Reads the columns of a table that is copied as a dimension: it needs neither a primary key nor a log.
 * @throws TidemarkError `TABLE_MISSING`, `COLUMN_TYPE`, `DB_*`.
 */
export async function inspectDimension(engine: SqlEngine, table: string): Promise<readonly ColumnSpec[]> {
  checkName('table', table);
  return await engine.use('inspect', async (connection) => {
    const inspect = engine.kind === 'mysql' ? inspectMysqlTable : inspectEmbeddedTable;
    const { columns } = await inspect(connection, table);
    checkColumns(table, columns);
    return columns.map(({ name, type, nullable }) => ({ name, type, nullable }));
  });
}

function capturedTable(request: TableRequest, found: InspectedTable): CapturedTable {
  const { table } = request;
  checkColumns(table, found.columns);
  const [first] = found.primaryKey;
  if (first === undefined) {
    throw new TidemarkError('TABLE_NO_PRIMARY_KEY', `table ${table} has no primary key`, {
      next: `Add one: ALTER TABLE ${table} ADD PRIMARY KEY (...).`,
    });
  }
  if (found.cascade !== undefined) {
    throw new TidemarkError(
      'TABLE_CASCADES',
      `table ${table}: foreign key ${found.cascade} changes its rows silently`,
      {
        next: 'Make it ON DELETE RESTRICT ON UPDATE RESTRICT, and let the application delete the rows.',
      },
    );
  }
  if (found.secondUnique !== undefined) {
    throw new TidemarkError(
      'TABLE_SECOND_UNIQUE',
      `table ${table}: REPLACE removes rows for the sake of ${found.secondUnique}, and no trigger tells`,
      { next: 'Drop it, or make it an index that is not UNIQUE; or use MySQL.' },
    );
  }
  const shardKey = request.shardKey === undefined ? first : request.shardKey;
  if (shardKey !== null && !found.columns.some((column) => column.name === shardKey)) {
    throw new TidemarkError('COLUMN_TYPE', `table ${table} has no column ${shardKey} to shard by`);
  }
  return { table, schemaVersion: 1, columns: found.columns, primaryKey: found.primaryKey, shardKey };
}

function checkColumns(table: string, columns: readonly ColumnSpec[]): void {
  if (columns.length > LIMITS.columnsPerTableMax) {
    throw new TidemarkError(
      'COLUMN_TYPE',
      `table ${table} has more than ${LIMITS.columnsPerTableMax} columns`,
    );
  }
  for (const column of columns) checkName(`column of table ${table}`, column.name);
}

function checkName(what: string, name: string): void {
  if (NAME.test(name) && name.length <= LIMITS.nameLengthMax) return;
  throw new TidemarkError('COLUMN_TYPE', `${what}: the name ${JSON.stringify(name)} cannot be captured`, {
    next: 'Names begin with a letter and hold letters, digits and _ only.',
  });
}
