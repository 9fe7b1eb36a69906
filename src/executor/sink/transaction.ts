/**
 * Transactions on a report database: how they end, and what is done when it is not known how one ended.
 */
import { isTidemarkError, LIMITS, mutated, sleep, TidemarkError, type Clock } from '../../base/index.ts';
import type { SqlConnection, SqlEngine } from '../../sql/index.ts';

/** What a transaction needs to know of the work that it belongs to. */
export interface SinkContext {
  readonly engine: SqlEngine;
  readonly clock: Clock;
  /** A number in [0, 1): spreads retries, so that two that collided do not collide again. */
  readonly random: () => number;
  /** Tells which connection works for the task from now on, and returns how to say that it no longer does. */
  readonly track: (connection: SqlConnection) => () => void;
  /** What makes the task's connections findable at the server (marker.ts). */
  readonly marker: string;
  /** True once the work was cancelled: then nothing is tried again. */
  readonly cancelled: () => boolean;
  readonly log: { warn(fields: Readonly<Record<string, unknown>>, message: string): void };
}

/**
 * Runs `body` in a write transaction on a connection and commits it; an error rolls back and is rethrown.
 * Meanwhile the connection can be found by `marker` (marker.ts), if there is one.
 */
export async function inTransaction<T>(
  connection: SqlConnection,
  body: () => Promise<T>,
  marker?: string,
): Promise<T> {
  await connection.begin('write', marker);
  let value: T;
  try {
    value = await body();
  } catch (error) {
    await abandon(connection);
    throw error;
  }
  await connection.commit();
  return value;
}

/** A connection that cannot even roll back is dropped, and with it whatever it held. */
async function abandon(connection: SqlConnection): Promise<void> {
  try {
    await connection.rollback();
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    connection.destroy();
  }
}

/**
 * Runs a transaction that may be repeated as a whole, until its outcome is known.
 *
 * Deadlocks, lock waits and lost connections are tried again a bounded number of times. When the connection
 * was lost during COMMIT, the old connection is killed and the same transaction runs again under the same
 * token: its first act is a locking read of the ledger row, which returns only when the old transaction has
 * ended one way or the other, and which then tells whether it had committed. Nothing is guessed (design
 * 6.8).
 *
 * @throws TidemarkError the last try's error; `SINK_LOSS` for a table that is missing; `DB_OUTCOME_UNKNOWN`
 * only if every further try failed to reach the database.
 */
export async function repeatable<T>(
  context: SinkContext,
  purpose: string,
  body: (connection: SqlConnection) => Promise<T>,
): Promise<T> {
  let unknown: unknown;
  for (let attempt = 1; ; attempt += 1) {
    let connectionId: string | undefined;
    try {
      return await context.engine.use(purpose, async (connection) => {
        connectionId = connection.id;
        const untrack = context.track(connection);
        try {
          return await inTransaction(connection, () => body(connection), context.marker);
        } finally {
          untrack();
        }
      });
    } catch (error) {
      if (isTidemarkError(error, 'TABLE_MISSING') && !mutated('sink.missingTableIsFinal')) {
        throw lostTable(error);
      }
      if (isTidemarkError(error, 'DB_OUTCOME_UNKNOWN')) unknown = error;
      if (!mayRepeat(error)) throw error;
      if (context.cancelled() || attempt >= LIMITS.mergeRetriesMax) throw unknown ?? error;
      context.log.warn(
        { purpose, attempt, error: (error as Error).message },
        'a sink transaction is run again',
      );
      if (connectionId !== undefined && isTidemarkError(error, 'DB_OUTCOME_UNKNOWN')) {
        await killOld(context, connectionId);
      }
      await sleep(context.clock, pauseMs(error, attempt, context.random()));
    }
  }
}

/**
 * Every table that is touched here was made before the work was granted: the database is just being restored,
 * or lost it. That says nothing of the work.
 */
function lostTable(cause: TidemarkError): TidemarkError {
  return new TidemarkError('SINK_LOSS', `the report database lacks a table: ${cause.message}`, { cause });
}

function mayRepeat(error: unknown): boolean {
  return isTidemarkError(error, 'DB_BUSY', 'DB_OUTCOME_UNKNOWN', 'DB_UNREACHABLE', 'DB_READ_ONLY');
}

/**
 * Collisions are repeated soon (5-35 ms), a database that does not answer after 50 ms, 100 ms, ... up to
 * 800 ms.
 */
function pauseMs(error: unknown, attempt: number, random: number): number {
  if (isTidemarkError(error, 'DB_BUSY')) return 5 + 30 * random;
  return Math.min(800, 25 * 2 ** attempt) * (0.5 + random / 2);
}

/**
 * Only makes the wait shorter: what decides is the next try's locking read, so a failed kill is told and
 * passed by.
 */
async function killOld(context: SinkContext, connectionId: string): Promise<void> {
  try {
    await context.engine.kill(connectionId);
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    context.log.warn({ connectionId, error: error.message }, 'the old connection could not be killed');
  }
}
