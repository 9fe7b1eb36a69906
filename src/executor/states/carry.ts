/**
 * Begins the row states of a new schema version with those of the version before it: an ALTER logs no rows,
 * and a reader of the new version must find the rows that it left alone. Their `_from` stays, so that the
 * state before the first window of the new version is read from its table too.
 */
import { mutated } from '../../base/index.ts';
import { STATE_OPEN, stateTable, type CapturedTable } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import { columnTypes, stateTables } from './state-catalog.ts';

/**
 * Moves the open versions of an older schema version's rows to the table of `table`'s, if it has any, and
 * closes them there at `window`, the first one of the new version. A column that the older table has not,
 * or has with another type, is NULL: no report may read it before the source is read again.
 * @throws TidemarkError those of the engine.
 */
export async function carryStates(
  connection: SqlConnection,
  dialect: Dialect,
  at: { readonly sourceId: number; readonly table: CapturedTable; readonly window: number },
): Promise<void> {
  const { sourceId, window } = at;
  const { table, schemaVersion } = at.table;
  if (schemaVersion === 1 || mutated('states.schemaBeginsEmpty')) return;
  const there = await stateTables(connection, dialect, sourceId);
  for (let version = schemaVersion - 1; version >= 1; version -= 1) {
    const older = stateTable({ sourceId, table, schemaVersion: version });
    if (!there.includes(older) || !(await hasOpen(connection, dialect, older))) continue;
    await move(connection, dialect, { older, newer: stateTable({ sourceId, table, schemaVersion }), window });
    return;
  }
}

async function hasOpen(connection: SqlConnection, dialect: Dialect, table: string): Promise<boolean> {
  const sql = `SELECT 1 FROM ${dialect.id(table)} WHERE _to = ${STATE_OPEN} LIMIT 1`;
  return (await connection.query(sql)).rows.length > 0;
}

async function move(
  connection: SqlConnection,
  dialect: Dialect,
  { older, newer, window }: { readonly older: string; readonly newer: string; readonly window: number },
): Promise<void> {
  const had = await columnTypes(connection, dialect, older);
  const has = await columnTypes(connection, dialect, newer);
  const kept = [...has].filter(([name, type]) => had.get(name) === type);
  const columns = kept.map(([name]) => dialect.id(name)).join(', ');
  const open = `WHERE _to = ${STATE_OPEN}`;
  // What a rewind has left there is of a version that begins again.
  await connection.query(`DELETE FROM ${dialect.id(newer)}`);
  await connection.query(
    `INSERT INTO ${dialect.id(newer)} (${columns}) SELECT ${columns} FROM ${dialect.id(older)} ${open}`,
  );
  await connection.query(`UPDATE ${dialect.id(older)} SET _to = ? ${open}`, [window]);
}
