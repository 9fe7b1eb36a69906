/**
 * Dropping row versions that ended before the horizon (design 6.10). How far is noted before the first of
 * them goes: after a restore to an earlier window nobody could tell otherwise that there are holes.
 */
import { LIMITS, mutated, TidemarkError } from '../../base/index.ts';
import { STATE_MARK_TABLE, stateTablePrefix, type CompiledSource } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlParam } from '../../sql/index.ts';
import { inTransaction } from '../sink/transaction.ts';
import { stateTables } from './state-catalog.ts';
import { lockStateMark, readStateMark } from './state-mark.ts';
import { rowKeys } from './state-tables.ts';

export interface DropVersionsInput {
  readonly sourceId: number;
  readonly source: CompiledSource;
  /** Versions that ended at this window or before it go: no state from it on has them. */
  readonly window: number;
  /** Of the grant. */
  readonly token: bigint;
  readonly signal: AbortSignal;
}

/**
 * Drops versions of all tables, some at a time. Each time it looks whether the grant is of the chain that the
 * row states follow: one from before a restore knows a horizon of other windows.
 * @throws TidemarkError `STATE_FENCED`, `CANCELLED`, and those of the engine.
 */
export async function dropVersions(
  connection: SqlConnection,
  dialect: Dialect,
  input: DropVersionsInput,
): Promise<void> {
  const { sourceId, source, window } = input;
  // Without a mark there are no versions.
  if ((await readStateMark(connection, sourceId)).window === 0) return;
  await underMark(connection, dialect, input, async () => {
    if (mutated('states.droppedNotNoted')) return;
    const sql = `UPDATE ${STATE_MARK_TABLE} SET _dropped = ? WHERE _source = ? AND _dropped < ?`;
    await connection.query(sql, [window, sourceId, window]);
  });
  for (const name of await stateTables(connection, dialect, sourceId)) {
    const captured = source.tables.find(({ table }) => isStateTableOf(sourceId, table, name));
    if (captured === undefined) continue;
    const keys = [...rowKeys(dialect, captured).map(({ column }) => column), '_from'];
    await dropOf(
      connection,
      dialect,
      { name: dialect.id(name), keys: keys.map((key) => dialect.id(key)) },
      input,
    );
  }
}

function isStateTableOf(sourceId: number, table: string, name: string): boolean {
  const prefix = `${stateTablePrefix(sourceId)}${table}_v`;
  return name.startsWith(prefix) && /^[0-9]+$/.test(name.slice(prefix.length));
}

/** Read without a lock in primary key order, then deleted by key, so that little else waits meanwhile. */
async function dropOf(
  connection: SqlConnection,
  dialect: Dialect,
  { name, keys }: { readonly name: string; readonly keys: readonly string[] },
  input: DropVersionsInput,
): Promise<void> {
  const list = keys.join(', ');
  const tuple = `(${list})`;
  const marks = `(${keys.map(() => '?').join(', ')})`;
  let after: readonly SqlParam[] | undefined;
  for (;;) {
    input.signal.throwIfAborted();
    const { rows } = await connection.query(
      `SELECT ${list} FROM ${name} WHERE _to <= ?${after === undefined ? '' : ` AND ${tuple} > ${marks}`} ` +
        `ORDER BY ${list} LIMIT ${LIMITS.rowsDroppedAtOnce}`,
      [input.window, ...(after ?? [])],
    );
    if (rows.length > 0) {
      // A version that was opened again since it was read is kept.
      const sql = `DELETE FROM ${name} WHERE ${tuple} IN (${rows.map(() => marks).join(', ')}) AND _to <= ?`;
      await underMark(connection, dialect, input, async () => {
        await connection.query(sql, [...rows.flat(), input.window]);
      });
    }
    if (rows.length < LIMITS.rowsDroppedAtOnce) return;
    after = rows.at(-1);
  }
}

/** Does it in a transaction in which the row states stay those of the grant's chain. */
async function underMark(
  connection: SqlConnection,
  dialect: Dialect,
  { sourceId, source, token }: DropVersionsInput,
  work: () => Promise<void>,
): Promise<void> {
  await inTransaction(connection, async () => {
    const { chain } = await lockStateMark(connection, dialect, sourceId);
    if (token < chain && !mutated('states.formerDropGoesOn')) {
      const what = `the row states of source ${source.name} are of a restored cluster, the grant is not`;
      throw new TidemarkError('STATE_FENCED', what, {
        details: { standing: String(chain), granted: String(token) },
      });
    }
    await work();
  });
}
