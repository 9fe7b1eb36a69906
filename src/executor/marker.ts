/**
 * Makes database connections findable by token. An executor that was stopped or cut off may have left a
 * query running, or a transaction holding locks; whoever gets the task's next version finds that connection
 * by the old token and kills it, from anywhere. It is for speed alone: what keeps results right is the
 * ledger.
 *
 * On MySQL the mark is a named lock of the connection, which the server drops with it. The embedded engine
 * has nothing of the kind: `dev` kills a stopped child that holds a lock (design section 8).
 */
import { isTidemarkError } from '../base/index.ts';
import type { SqlConnection, SqlEngine } from '../sql/index.ts';

/** Names of locks are bounded to 64 characters; the token is unique within the cluster. */
export function markerName(clusterId: string, token: bigint): string {
  return `tidemark ${clusterId.slice(0, 16)} ${token}`;
}

/** Runs `work` on a connection that can be found by `marker` meanwhile. */
export async function withMarker<T>(
  engine: SqlEngine,
  connection: SqlConnection,
  marker: string,
  work: () => Promise<T>,
): Promise<T> {
  if (engine.kind !== 'mysql') return work();
  await connection.query('SELECT GET_LOCK(?, 0)', [marker]);
  let value: T;
  try {
    value = await work();
  } catch (error) {
    await releaseLock(connection, marker);
    throw error;
  }
  await releaseLock(connection, marker);
  return value;
}

/** A connection that cannot drop a named lock must not go back to the pool with it. */
export async function releaseLock(connection: SqlConnection, name: string): Promise<void> {
  try {
    await connection.query('SELECT RELEASE_LOCK(?)', [name]);
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    connection.destroy();
  }
}

/**
 * Kills the connections that carry one of the marks; resolves when no server behind the engine that answers
 * shows them any more.
 * @throws TidemarkError those of the engine.
 */
export async function killMarked(engine: SqlEngine, markers: readonly string[]): Promise<number> {
  if (engine.kind !== 'mysql' || markers.length === 0) return 0;
  const killed = await Promise.all(engine.endpoints.map((server) => killMarkedAt(server, markers)));
  return killed.reduce((sum, count) => sum + count, 0);
}

async function killMarkedAt(server: SqlEngine, markers: readonly string[]): Promise<number> {
  const ids = await server.use('kill superseded', async (connection) => {
    const columns = markers.map(() => 'IS_USED_LOCK(?)').join(', ');
    const { rows } = await connection.query(`SELECT ${columns}`, markers);
    return (rows[0] ?? []).filter((id) => id !== null).map(String);
  });
  for (const id of ids) await server.kill(id);
  return ids.length;
}
