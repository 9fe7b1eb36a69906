/**
 * Dropping what a store shard holds of windows that nobody reads any more (design 6.10): change rows of
 * every epoch, those of deposed collectors included, marks, and row versions that ended before. Bounded
 * statements of their own: nothing waits for them, and to be stopped half way does no harm.
 */
import { LIMITS, systemClock } from '../../base/index.ts';
import { keepDayPartitions } from '../../collector/index.ts';
import { changeTablePrefix, MARK_TABLE, type CompiledSource } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlEngine, SqlParam } from '../../sql/index.ts';
import { asBigint, asText } from '../sink/values.ts';
import { dropVersions } from '../states/index.ts';

export interface DropInput {
  readonly sourceId: number;
  readonly source: CompiledSource;
  /** The horizon: windows up to this one go. */
  readonly window: number;
  /** Of the grant. */
  readonly token: bigint;
  readonly signal: AbortSignal;
  /** Tells which days are over. @default by the system's clock */
  readonly wallMs?: number;
}

/** @throws TidemarkError `STATE_FENCED`, `CANCELLED`, and those of the engine. */
export async function dropHistory(engine: SqlEngine, input: DropInput): Promise<void> {
  await engine.use(
    `drop history of ${input.sourceId}`,
    async (connection) => {
      const { dialect } = engine;
      const { sourceId, window: horizon, wallMs = systemClock.wallMs() } = input;
      for (const table of await tablesOf(connection, dialect, changeTablePrefix(input.sourceId))) {
        await dropChanges(connection, dialect, table, input);
        await keepDayPartitions(connection, dialect, { table, sourceId, horizon, wallMs });
      }
      await connection.query(`DELETE FROM ${MARK_TABLE} WHERE _source = ? AND _window <= ?`, [
        input.sourceId,
        input.window,
      ]);
      await dropVersions(connection, dialect, input);
    },
    input.signal,
  );
}

/** Tables of all schema versions, also of those that no job file names any more. */
async function tablesOf(connection: SqlConnection, dialect: Dialect, prefix: string): Promise<string[]> {
  const all =
    dialect.kind === 'mysql'
      ? 'SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()'
      : "SELECT name FROM sqlite_master WHERE type = 'table'";
  const { rows } = await connection.query(all);
  return rows.map(([name]) => asText(name)).filter((name) => name.startsWith(prefix));
}

/** Epoch by epoch and day by day, as the primary key begins, and then some rows at a time. */
async function dropChanges(
  connection: SqlConnection,
  dialect: Dialect,
  table: string,
  { sourceId, window, signal }: DropInput,
): Promise<void> {
  const name = dialect.id(table);
  const slices = await connection.query(`SELECT DISTINCT _epoch, _day FROM ${name} WHERE _source = ?`, [
    sourceId,
  ]);
  const where = '_source = ? AND _epoch = ? AND _day = ? AND _window';
  for (const [epoch, day] of slices.rows) {
    const slice: SqlParam[] = [sourceId, epoch ?? null, day ?? null];
    for (;;) {
      signal.throwIfAborted();
      if (dialect.kind === 'mysql') {
        const sql = `DELETE FROM ${name} WHERE ${where} <= ? LIMIT ${LIMITS.rowsDroppedAtOnce}`;
        const { changes } = await connection.query(sql, [...slice, window]);
        if (changes < LIMITS.rowsDroppedAtOnce) break;
        continue;
      }
      const { rows } = await connection.query(`SELECT MIN(_window) FROM ${name} WHERE ${where} <= ?`, [
        ...slice,
        window,
      ]);
      const oldest = rows[0]?.[0] ?? null;
      if (oldest === null) break;
      await connection.query(`DELETE FROM ${name} WHERE ${where} = ?`, [...slice, asBigint(oldest)]);
    }
  }
}
