/**
 * Begins the row states of a new schema version with those of the version before it: an ALTER logs no rows,
 * and a reader of the new version must find the rows that it left alone. Their `_from` stays, so that the
 * state before the first window of the new version is read from its table too.
 */
import { mutated } from '../../base/index.ts';
import { STATE_OPEN, stateTable, type CapturedTable } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import { columnTypes, stateTables } from './state-catalog.ts';
import { rowKeys } from './state-tables.ts';

/**
 * Moves the open versions of an older schema version's rows to the table of `table`'s, if it has any, and
 * closes them there at `window`, the first one of the new version. A column that is new or broken is NULL: no
 * report may read it before the source is read again. Every other one holds the same values in a type that
 * may be wider, to which the database converts them.
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
    await move(connection, dialect, { older, newer: at.table, sourceId, window });
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
  moved: {
    readonly older: string;
    readonly newer: CapturedTable;
    readonly sourceId: number;
    readonly window: number;
  },
): Promise<void> {
  const { older, window } = moved;
  const newer = stateTable({ ...moved.newer, sourceId: moved.sourceId });
  const had = await columnTypes(connection, dialect, older);
  const has = await columnTypes(connection, dialect, newer);
  // What tells rows apart is made anew: of a wider key it may be a digest now.
  const keys = new Map(rowKeys(dialect, moved.newer).map(({ column, expression }) => [column, expression]));
  const young = new Set(moved.newer.young);
  const isKept = (name: string, type: string): boolean =>
    had.get(name) === type || (had.has(name) && !young.has(name) && !mutated('states.widerColumnsEmpty'));
  const kept = [...has].filter(([name, type]) => keys.has(name) || isKept(name, type));
  const columns = kept.map(([name]) => dialect.id(name)).join(', ');
  const values = kept.map(([name]) => keys.get(name) ?? dialect.id(name)).join(', ');
  const open = `WHERE _to = ${STATE_OPEN}`;
  // What a rewind has left there is of a version that begins again.
  await connection.query(`DELETE FROM ${dialect.id(newer)}`);
  await connection.query(
    `INSERT INTO ${dialect.id(newer)} (${columns}) SELECT ${values} FROM ${dialect.id(older)} ${open}`,
  );
  await connection.query(`UPDATE ${dialect.id(older)} SET _to = ? ${open}`, [window]);
}
