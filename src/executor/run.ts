/** One attempt at a task under one token, while this executor holds it. */
import { asToken, TidemarkError, toTidemarkError, type FencingToken } from '../base/index.ts';
import type { SqlConnection, SqlEngine } from '../sql/index.ts';
import type { Task } from '../wire/index.ts';

export type Phase = 'waiting' | 'computing' | 'merging';

export class Run {
  readonly task: Task;
  readonly token: FencingToken;
  phase: Phase = 'waiting';
  /** Rows that were gathered from other shards, and of the contribution that were computed, so far. */
  rows = 0;
  /** Whether rows were staged under its token, by an attempt that may have failed since. */
  staged = false;
  /** Resolves when connections that earlier grants of the task left were looked for and killed. */
  cleared: Promise<void> = Promise.resolve();
  readonly #abort = new AbortController();
  readonly #connections = new Map<SqlConnection, SqlEngine>();

  constructor(task: Task) {
    this.task = task;
    this.token = asToken(task.token);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get cancelled(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Notes that a connection works for this run, until the returned function is called. */
  track(engine: SqlEngine, connection: SqlConnection): () => void {
    this.#connections.set(connection, engine);
    return () => {
      this.#connections.delete(connection);
    };
  }

  /**
   * Stops the attempt: its connections are dropped here at once, so that a server that does not answer holds
   * no slot, and then killed at the server. Resolves when the databases show neither query nor connection any
   * more. What is right does not rest on it: a merge that slips through is fenced at the sink.
   */
  async cancel(reason: string, onFailure: (error: TidemarkError) => void): Promise<void> {
    this.#abort.abort(new TidemarkError('CANCELLED', reason));
    const connections = [...this.#connections];
    for (const [connection] of connections) connection.destroy();
    const kill = async (engine: SqlEngine, connectionId: string): Promise<void> => {
      try {
        await engine.kill(connectionId);
      } catch (error) {
        onFailure(toTidemarkError(error));
      }
    };
    await Promise.all(connections.map(([connection, engine]) => kill(engine, connection.id)));
  }
}
