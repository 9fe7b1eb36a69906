/** What a server of a group is asked every few seconds, and how its answer is read. */
import { isTidemarkError } from '../../base/index.ts';
import type { ResultSet, SqlConnection, SqlValue } from '../engine.ts';

export interface ServerAnswer {
  /** It takes writes. */
  readonly writable: boolean;
  /**
   * How far it is behind its primary, in milliseconds; Infinity when it does not follow; undefined when it is
   * none's replica or does not tell this account.
   */
  readonly lagMs: number | undefined;
  /** It commits in the order of its primary: who finds a window's mark there finds its rows (design 6.4). */
  readonly inOrder: boolean;
}

/** @throws TidemarkError those of the connection. */
export async function askServer(connection: SqlConnection): Promise<ServerAnswer> {
  const { rows } = await connection.query('SELECT @@global.read_only, VERSION()');
  const [readOnly, version] = rows[0] ?? [];
  const isMariadb = /mariadb/i.test(String(version));
  if (!isSet(readOnly)) return { writable: true, lagMs: undefined, inOrder: true };
  const lagMs = await lagOf(connection);
  return { writable: false, lagMs, inOrder: isMariadb || (await mysqlKeepsOrder(connection)) };
}

const isSet = (value: SqlValue | undefined): boolean => !['0', 'OFF', ''].includes(String(value));

async function lagOf(connection: SqlConnection): Promise<number | undefined> {
  let status: ResultSet;
  try {
    status = await connection.query('SHOW REPLICA STATUS');
  } catch (error) {
    // Only this is not told to the account: then lag shows when a window is missing.
    if (isTidemarkError(error, 'DB_ACCESS')) return undefined;
    throw error;
  }
  const [row] = status.rows;
  if (row === undefined) return undefined;
  const at = status.columns.findIndex(({ name }) => /^Seconds_Behind_(?:Master|Source)$/.test(name));
  const seconds = row[at] ?? null;
  return seconds === null ? Number.POSITIVE_INFINITY : Number(seconds) * 1_000;
}

/**
 * MariaDB commits in order in every parallel mode, as long as the primary writes under one domain id, as
 * Tidemark's transactions do. MySQL does with one worker, or where it is told to.
 */
async function mysqlKeepsOrder(connection: SqlConnection): Promise<boolean> {
  const { rows } = await connection.query(
    'SELECT @@global.replica_parallel_workers, @@global.replica_preserve_commit_order',
  );
  const [workers, preserves] = rows[0] ?? [];
  return Number(workers) <= 1 || isSet(preserves);
}
