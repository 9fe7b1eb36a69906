/**
 * Whether a store shard shows all rows of a sealed window (design 6.4): the mark that the collector wrote
 * after them, and their number. A shard that lags, or that lost something, is an error with a code, never a
 * smaller result.
 */
import { isTidemarkError, TidemarkError } from '../../base/index.ts';
import { changeTable, MARK_TABLE, type CompiledSource } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlValue } from '../../sql/index.ts';
import type { SealedShard, SealedWindow } from '../../wire/index.ts';
import { asBigint } from '../sink/values.ts';

export interface WindowsOfShard {
  readonly source: CompiledSource;
  readonly sourceId: number;
  readonly shard: string;
  readonly windows: readonly SealedWindow[];
}

/**
 * Checks every window, in the snapshot that the report's SQL will read too.
 * @returns the change rows that were found, by table.
 * @throws TidemarkError `WINDOW_INCOMPLETE`.
 */
export async function checkComplete(
  connection: SqlConnection,
  dialect: Dialect,
  input: WindowsOfShard,
): Promise<ReadonlyMap<string, bigint>> {
  const byTable = new Map<string, bigint>();
  for (const window of input.windows) {
    const sealed = sealedShard(window, input.shard);
    const [rows, checksum, ...counts] = (await readExisting(connection, dialect, input, window)) ?? [];
    for (const [at, { table }] of window.schemaVersions.entries()) {
      byTable.set(table, (byTable.get(table) ?? 0n) + asBigint(counts[at] ?? 0n));
    }
    const found = counts.reduce<bigint>((sum, count) => sum + asBigint(count), 0n);
    if (rows === undefined) throw incomplete(input, window, 'has no mark');
    if (rows !== sealed.rows || checksum !== sealed.checksum) {
      throw incomplete(input, window, `is marked with ${show(rows)} rows, checksum ${show(checksum)}`);
    }
    if (found !== sealed.rows) {
      throw incomplete(input, window, `has ${show(found)} change rows, sealed were ${sealed.rows}`);
    }
  }
  return byTable;
}

/** What was sealed for one shard of a window. @throws TidemarkError `BAD_REQUEST` if nothing was. */
export function sealedShard(window: SealedWindow, shard: string): SealedShard {
  const sealed = window.shards.find((candidate) => candidate.shard === shard);
  if (sealed !== undefined) return sealed;
  throw new TidemarkError('BAD_REQUEST', `window ${window.window} was sealed without store shard ${shard}`);
}

/** A server that lags behind the making of a table, or has lost it, has nothing of the window. */
async function readExisting(...asked: Parameters<typeof readMark>): Promise<readonly SqlValue[] | undefined> {
  try {
    return await readMark(...asked);
  } catch (error) {
    if (isTidemarkError(error, 'TABLE_MISSING')) return undefined;
    throw error;
  }
}

/**
 * Number and checksum of the mark, and the numbers of change rows that are really there, by table; undefined
 * without a mark.
 */
async function readMark(
  connection: SqlConnection,
  dialect: Dialect,
  input: WindowsOfShard,
  window: SealedWindow,
): Promise<readonly SqlValue[] | undefined> {
  const counts = window.schemaVersions.map(({ table, version }) => {
    const name = changeTable({ sourceId: input.sourceId, table, schemaVersion: version });
    const where = '_source = ? AND _epoch = ? AND _day = ? AND _window = ?';
    return `(SELECT COUNT(*) FROM ${dialect.id(name)} WHERE ${where})`;
  });
  const of = [input.sourceId, window.epoch, window.day, window.window];
  const { rows } = await connection.query(
    `SELECT _rows, _checksum, ${counts.join(', ')} FROM ${MARK_TABLE} ` +
      'WHERE _source = ? AND _epoch = ? AND _window = ?',
    [...counts.flatMap(() => of), input.sourceId, window.epoch, window.window],
  );
  return rows[0];
}

function incomplete(input: WindowsOfShard, window: SealedWindow, what: string): TidemarkError {
  const where = `window ${window.window} of source ${input.source.name} on store shard ${input.shard}`;
  return new TidemarkError('WINDOW_INCOMPLETE', `${where} ${what}`, {
    details: { window: String(window.window), shard: input.shard },
  });
}

const show = (value: SqlValue | undefined): string => String(value);
