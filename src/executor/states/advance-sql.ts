/**
 * The two statements that advance the row states of one table by the change rows of sealed windows. Of all
 * images of a row in one window only the last counts, by its ordinal: a window is one step, and what came and
 * went within it was never there.
 */
import { mutated } from '../../base/index.ts';
import { changeTable, inWindows, STATE_OPEN, stateTable, type CapturedTable } from '../../job/index.ts';
import type { Dialect, SqlParam } from '../../sql/index.ts';
import type { SealedWindow } from '../../wire/index.ts';
import { rowKeys } from './state-tables.ts';

export interface Statement {
  readonly sql: string;
  readonly params: readonly SqlParam[];
}

/** Makes the statements, to be run in this order and in one transaction. */
export function advanceStatements(
  dialect: Dialect,
  sourceId: number,
  table: CapturedTable,
  windows: readonly SealedWindow[],
): Statement[] {
  const at = { sourceId, table: table.table, schemaVersion: table.schemaVersion };
  const range = inWindows(
    sourceId,
    windows.map(({ window, epoch, day }) => ({ window: Number(window), epoch, day })),
  );
  const parts = {
    dialect,
    table,
    changes: `${dialect.id(changeTable(at))} WHERE ${range.sql}`,
    states: dialect.id(stateTable(at)),
  };
  return [
    { sql: closing(parts), params: range.params },
    { sql: opening(parts), params: range.params },
  ];
}

interface Parts {
  readonly dialect: Dialect;
  readonly table: CapturedTable;
  /** The change rows, as what follows FROM. */
  readonly changes: string;
  readonly states: string;
}

/**
 * Closes the open version of every row that has an image, at the first window of it. The order of the join
 * and its index are given: the touched rows are few, the row states many. Statistics come after the rows: a
 * table that was small a moment ago would be read as a whole for each touched row.
 */
function closing({ dialect, table, changes, states }: Parts): string {
  const keys = rowKeys(dialect, table);
  const names = keys.map(({ column }) => dialect.id(column));
  const images = keys.map(({ expression, column }) => `${expression} AS ${dialect.id(column)}`).join(', ');
  const touched =
    `SELECT ${names.join(', ')}, MIN(_window) AS _at ` +
    `FROM (SELECT ${images}, _window FROM ${changes}) AS images GROUP BY ${names.join(', ')}`;
  const on = [...names.map((name) => `s.${name} = touched.${name}`), `s._to = ${STATE_OPEN}`].join(' AND ');
  if (dialect.kind === 'embedded') {
    return `UPDATE ${states} AS s SET _to = touched._at FROM (${touched}) AS touched WHERE ${on}`;
  }
  const s = `${states} AS s${mutated('states.anyIndex') ? '' : ' FORCE INDEX (PRIMARY)'}`;
  return `UPDATE (${touched}) AS touched STRAIGHT_JOIN ${s} ON ${on} SET s._to = touched._at`;
}

/**
 * Opens a version for the last image of each row in each window, if it is one of +1; it is closed by the next
 * window that has an image of the row.
 */
function opening({ dialect, table, changes, states }: Parts): string {
  const keys = rowKeys(dialect, table);
  const own = new Set(table.columns.map((column) => column.name));
  const names = table.columns.map(({ name }) => dialect.id(name));
  const added = keys.filter(({ column }) => !own.has(column));
  const columns = [...names, ...added.map(({ column }) => dialect.id(column))].join(', ');
  const values = [
    ...names,
    ...added.map(({ expression, column }) => `${expression} AS ${dialect.id(column)}`),
  ];
  const order = mutated('states.firstImageCounts') ? '_window, _n DESC' : '_window, _n';
  const next = `LEAD(_window) OVER (PARTITION BY ${keys
    .map(({ expression }) => expression)
    .join(', ')} ORDER BY ${order}) AS _next`;
  return (
    `INSERT INTO ${states} (${columns}, _from, _to) ` +
    `SELECT ${columns}, _window, COALESCE(_next, ${STATE_OPEN}) ` +
    `FROM (SELECT ${values.join(', ')}, _window, _w, ${next} FROM ${changes}) AS images ` +
    `WHERE _w = 1 AND (_next IS NULL OR _next > _window)`
  );
}
