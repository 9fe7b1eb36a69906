/** Reads a whole table in bounded batches by its primary key, inside a snapshot that the caller has begun. */
import { LIMITS, must } from '../base/index.ts';
import type { CapturedTable } from '../job/index.ts';
import type { Dialect, SqlConnection, SqlValue } from '../sql/index.ts';
import type { RowValues } from './change-source.ts';
import { rowCodec } from './column-codec.ts';

export async function readAllRows(
  connection: SqlConnection,
  dialect: Dialect,
  table: CapturedTable,
  onRows: (rows: readonly RowValues[]) => Promise<void>,
): Promise<void> {
  const convert = rowCodec(table);
  const keyAt = table.primaryKey.map((name) => table.columns.findIndex((column) => column.name === name));
  const columns = table.columns.map((column) => dialect.id(column.name)).join(', ');
  const order = table.primaryKey.map((name) => dialect.id(name)).join(', ');
  let last: readonly SqlValue[] | undefined;
  for (;;) {
    const after = last === undefined ? undefined : keyAfter(dialect, table.primaryKey, last);
    const where = after === undefined ? '' : `WHERE ${after.sql}`;
    const { rows } = await connection.query(
      `SELECT ${columns} FROM ${dialect.id(table.table)} ${where} ` +
        `ORDER BY ${order} LIMIT ${LIMITS.sourceReadRowsMax}`,
      after?.params ?? [],
    );
    if (rows.length > 0) await onRows(rows.map(convert));
    if (rows.length < LIMITS.sourceReadRowsMax) return;
    const end = must(rows.at(-1), 'the last row of a full batch');
    last = keyAt.map((at) => end[at] ?? null);
  }
}

/** `(a, b) > (x, y)`, written out: MySQL uses an index for this form only. */
function keyAfter(
  dialect: Dialect,
  key: readonly string[],
  last: readonly SqlValue[],
): { sql: string; params: SqlValue[] } {
  const params: SqlValue[] = [];
  const terms = key.map((name, at) => {
    const parts = key.slice(0, at).map((before, index) => {
      params.push(last[index] ?? null);
      return `${dialect.id(before)} = ?`;
    });
    params.push(last[at] ?? null);
    return [...parts, `${dialect.id(name)} > ?`].join(' AND ');
  });
  return { sql: `(${terms.map((term) => `(${term})`).join(' OR ')})`, params };
}
