/**
 * Databases for one piece of work that may be cancelled: then its connections are dropped and killed at the
 * server, so that nothing it held keeps its successor waiting (evidence rule 12).
 */
import { isTidemarkError, mutated } from '../base/index.ts';
import type { SqlEngine } from '../sql/index.ts';
import type { Databases } from './databases.ts';
import { killMarked, withMarker } from './marker.ts';
import type { RunnerLog } from './task-runner.ts';

export interface Cancellation {
  readonly signal: AbortSignal;
  /** Makes its writing connections findable at the server (marker.ts); '' if it marks them itself. */
  readonly marker: string;
}

/** What the work sees of its executor's databases. */
export type WorkDatabases = Pick<Databases, 'engine' | 'group'>;

/** Returns databases whose work ends when the signal is aborted. */
export function cancellableDatabases(databases: WorkDatabases, how: Cancellation): WorkDatabases {
  return {
    engine: (database) => cancellable(databases.engine(database), how),
    group: (group) => cancellable(databases.group(group), how),
  };
}

/** Returns an engine whose work ends with `CANCELLED`, its connections killed, when the signal is aborted. */
export function cancellable(engine: SqlEngine, { signal, marker }: Cancellation): SqlEngine {
  if (mutated('executor.choreNotCancelled')) return engine;
  return {
    kind: engine.kind,
    dialect: engine.dialect,
    endpoints: engine.endpoints,
    connect: (options) => engine.connect({ ...options, signal }),
    use: (purpose, work) =>
      engine.use(
        purpose,
        (connection) =>
          marker === '' ? work(connection) : withMarker(engine, connection, marker, () => work(connection)),
        signal,
      ),
    read: (purpose, work) => engine.read(purpose, work, signal),
    kill: (connectionId) => engine.kill(connectionId),
    close: () => engine.close(),
  };
}

/**
 * Kills the connections that earlier grants may have left at these databases, wherever they run. For speed
 * alone: one that cannot be killed ends by itself, and its locks with it.
 */
export async function killEarlier(
  engines: readonly SqlEngine[],
  markers: readonly string[],
  log: RunnerLog,
): Promise<void> {
  if (markers.length === 0 || mutated('executor.earlierConnectionsStay')) return;
  for (const engine of engines) {
    try {
      const killed = await killMarked(engine, markers);
      if (killed > 0) log.info({ killed }, 'connections of earlier grants killed');
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      log.warn({ code: error.code, error: error.message }, 'connections of earlier grants stay');
    }
  }
}
