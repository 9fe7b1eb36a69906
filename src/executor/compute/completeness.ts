/**
 * Whether a store shard shows all rows of a sealed window (design 6.4): the mark that the collector wrote
 * after them, and their number. A shard that lags, or that lost something, is an error with a code, never a
 * smaller result.
 */
import { must, TidemarkError } from '../../base/index.ts';
import { changeTable, MARK_TABLE, type CompiledSource } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlValue } from '../../sql/index.ts';
import type { SealedShard, SealedWindow } from '../../wire/index.ts';

export interface WindowsOfShard {
  readonly source: CompiledSource;
  readonly sourceId: number;
  readonly shard: string;
  readonly windows: readonly SealedWindow[];
}

/**
 * Checks every window, in the snapshot that the report's SQL will read too.
 * @throws TidemarkError `WINDOW_INCOMPLETE`.
 */
export async function checkComplete(
  connection: SqlConnection,
  dialect: Dialect,
  input: WindowsOfShard,
): Promise<void> {
  for (const window of input.windows) {
    const sealed = sealedShard(window, input.shard);
    await checkMark(connection, input, window, sealed);
    const rows = await countRows(connection, dialect, input, window);
    if (rows !== sealed.rows) {
      throw incomplete(input, window, `has ${rows} change rows, sealed were ${sealed.rows}`);
    }
  }
}

/** What was sealed for one shard of a window. */
export function sealedShard(window: SealedWindow, shard: string): SealedShard {
  return must(
    window.shards.find((candidate) => candidate.shard === shard),
    `shard ${shard} in the seal of window ${window.window}`,
  );
}

async function checkMark(
  connection: SqlConnection,
  input: WindowsOfShard,
  window: SealedWindow,
  sealed: SealedShard,
): Promise<void> {
  const { rows } = await connection.query(
    `SELECT _rows, _checksum FROM ${MARK_TABLE} WHERE _source = ? AND _epoch = ? AND _window = ?`,
    [input.sourceId, window.epoch, window.window],
  );
  const mark = rows[0];
  if (mark === undefined) throw incomplete(input, window, 'has no mark');
  const [count, checksum] = mark;
  if (count !== sealed.rows || checksum !== sealed.checksum) {
    throw incomplete(input, window, `is marked with ${show(count)} rows, checksum ${show(checksum)}`);
  }
}

async function countRows(
  connection: SqlConnection,
  dialect: Dialect,
  input: WindowsOfShard,
  window: SealedWindow,
): Promise<bigint> {
  let total = 0n;
  for (const { table, version } of window.schemaVersions) {
    const name = changeTable({ sourceId: input.sourceId, table, schemaVersion: version });
    const { rows } = await connection.query(
      `SELECT COUNT(*) FROM ${dialect.id(name)} ` +
        'WHERE _source = ? AND _epoch = ? AND _day = ? AND _window = ?',
      [input.sourceId, window.epoch, window.day, window.window],
    );
    total += rows[0]?.[0] as bigint;
  }
  return total;
}

function incomplete(input: WindowsOfShard, window: SealedWindow, what: string): TidemarkError {
  const where = `window ${window.window} of source ${input.source.name} on store shard ${input.shard}`;
  return new TidemarkError('WINDOW_INCOMPLETE', `${where} ${what}`, {
    details: { window: String(window.window), shard: input.shard },
  });
}

const show = (value: SqlValue | undefined): string => String(value);
