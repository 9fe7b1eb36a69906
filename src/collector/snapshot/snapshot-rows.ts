/** Reads tables in bounded batches by their primary keys, inside a snapshot that the caller has begun. */
import { LIMITS, must, mutated } from '../../base/index.ts';
import type { CapturedTable } from '../../job/index.ts';
import { parseColumnType, type Dialect, type SqlConnection, type SqlValue } from '../../sql/index.ts';
import type { RowValues, SnapshotOptions } from '../change-source.ts';
import { exactSelect, rowCodec } from '../schema/column-codec.ts';

/** Reads the tables from a place on, one after the other, until `onRows` answers false. */
export async function readTables(
  connection: SqlConnection,
  dialect: Dialect,
  tables: readonly CapturedTable[],
  onRows: (table: number, rows: readonly RowValues[]) => Promise<boolean>,
  { from = { table: 0, after: undefined }, batchRows = LIMITS.sourceReadRowsMax }: SnapshotOptions = {},
): Promise<void> {
  for (const [at, table] of tables.entries()) {
    if (at < from.table) continue;
    const part = { after: at === from.table ? from.after : undefined, batchRows };
    const more = await readRows(connection, dialect, table, (rows) => onRows(at, rows), part);
    if (!more) return;
  }
}

interface Part {
  readonly after: readonly SqlValue[] | undefined;
  readonly batchRows: number;
}

/** Answers false if `onRows` did. */
async function readRows(
  connection: SqlConnection,
  dialect: Dialect,
  table: CapturedTable,
  onRows: (rows: readonly RowValues[]) => Promise<boolean>,
  { after: begin, batchRows }: Part,
): Promise<boolean> {
  const convert = rowCodec(table);
  const key = keyOf(dialect, table);
  const columns = [
    ...table.columns.map((column) => exactSelect(dialect, column)),
    ...key.map(({ compared }, at) => `${compared} AS ${dialect.id(`_key_${at}`)}`),
  ];
  const order = key.map(({ name }) => name).join(', ');
  let last = begin;
  for (;;) {
    const after = last === undefined ? undefined : keyAfter(key, last);
    const where = after === undefined ? '' : `WHERE ${after.sql}`;
    const { rows } = await connection.query(
      `SELECT ${columns.join(', ')} FROM ${dialect.id(table.table)} ${where} ` +
        `ORDER BY ${order} LIMIT ${batchRows}`,
      after?.params ?? [],
    );
    if (rows.length > 0 && !(await onRows(rows.map(convert)))) return false;
    if (rows.length < batchRows) return true;
    last = must(rows.at(-1), 'the last row of a full batch').slice(table.columns.length);
  }
}

export interface KeyColumn {
  readonly name: string;
  /** What is compared: in the same order as the column, whatever its value looks like. */
  readonly compared: string;
}

/** MySQL orders ENUM, SET and BIT by number, but compares the first two with a text as texts. */
function keyOf(dialect: Dialect, table: CapturedTable): KeyColumn[] {
  return table.primaryKey.map((column) => {
    const type = table.columns.find(({ name }) => name === column)?.type ?? 'BIGINT';
    const name = dialect.id(column);
    const byNumber =
      ['ENUM', 'SET', 'BIT', 'FLOAT'].includes(parseColumnType(type).kind) &&
      !mutated('collector.keyOrderAsText');
    return { name, compared: byNumber && dialect.kind === 'mysql' ? `${name} + 0` : name };
  });
}

/** `(a, b) > (x, y)`, written out: MySQL uses an index for this form only. */
export function keyAfter(
  key: readonly KeyColumn[],
  last: readonly SqlValue[],
): { sql: string; params: SqlValue[] } {
  const params: SqlValue[] = [];
  const terms = key.map(({ compared }, at) => {
    const parts = key.slice(0, at).map((before, index) => {
      params.push(last[index] ?? null);
      return `${before.compared} = ?`;
    });
    params.push(last[at] ?? null);
    return [...parts, `${compared} > ?`].join(' AND ');
  });
  return { sql: `(${terms.map((term) => `(${term})`).join(' OR ')})`, params };
}
