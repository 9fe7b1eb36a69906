/**
 * Row states under a new schema version (design 6.3): what was there as of the last window of the former one
 * is carried over when the first window of the new one is advanced, in the same transaction, so that readers
 * of the new version find old and new state in its table.
 */
import { mutated } from '../../base/index.ts';
import { STATE_OPEN, STATE_SCHEMA_TABLE, stateTable, type CapturedTable } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import { rowKeys } from './state-tables.ts';

export interface VersionInput {
  readonly sourceId: number;
  /** A captured table under a schema version. */
  readonly captured: (table: string, version: number) => CapturedTable;
}

/**
 * Carries the rows of the former schema version over, unless the version of `table` has begun here before.
 * `window` is the first one under it that this shard advances by.
 * @throws TidemarkError those of the engine.
 */
export async function beginVersion(
  connection: SqlConnection,
  dialect: Dialect,
  { sourceId, captured }: VersionInput,
  { table, window }: { readonly table: CapturedTable; readonly window: bigint },
): Promise<void> {
  const { rows } = await connection.query(
    `SELECT MAX(_version) FROM ${STATE_SCHEMA_TABLE} WHERE _source = ? AND _table = ?`,
    [sourceId, table.table],
  );
  const newest = rows[0]?.[0] ?? null;
  if (newest !== null && Number(newest) >= table.schemaVersion) return;
  if (newest !== null && !mutated('states.newSchemaStartsEmpty')) {
    const former = captured(table.table, Number(newest));
    await carryOver(connection, dialect, { sourceId, former, table, window });
  }
  const values = [sourceId, table.table, table.schemaVersion, window];
  await connection.query(`INSERT INTO ${STATE_SCHEMA_TABLE} VALUES (?, ?, ?, ?)`, values);
}

/**
 * Columns that are not the same any more are NULL: a report that may read one of them has stopped, or reads
 * only what came later.
 */
async function carryOver(
  connection: SqlConnection,
  dialect: Dialect,
  input: {
    readonly sourceId: number;
    readonly former: CapturedTable;
    readonly table: CapturedTable;
    readonly window: bigint;
  },
): Promise<void> {
  const { sourceId, former, table, window } = input;
  const types = new Map(former.columns.map(({ name, type }) => [name, type]));
  const same = table.columns.filter(({ name, type }) => types.get(name) === type).map(({ name }) => name);
  const keys = rowKeys(dialect, table).map(({ column }) => column);
  const columns = [...new Set([...same, ...keys])].map((name) => dialect.id(name)).join(', ');
  const nameOf = ({ schemaVersion }: CapturedTable): string =>
    dialect.id(stateTable({ sourceId, table: table.table, schemaVersion }));
  // What a version left behind that was taken back with the windows after a restore.
  await connection.query(`DELETE FROM ${nameOf(table)}`);
  await connection.query(
    `INSERT INTO ${nameOf(table)} (${columns}, _from, _to) SELECT ${columns}, _from, ${STATE_OPEN} ` +
      `FROM ${nameOf(former)} WHERE _from < ? AND _to >= ?`,
    [window, window],
  );
}
