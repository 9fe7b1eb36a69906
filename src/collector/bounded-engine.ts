/**
 * Bounds how long the collector waits for a database server. A host that lost its power closes nothing, and a
 * collector that waits is taken for one that collects: it has to end long before the engine's own deadline,
 * which leaves room for the SQL of reports.
 */
import { TidemarkError, isTidemarkError, type Clock } from '../base/index.ts';
import type {
  QueryOptions,
  ResultSet,
  SqlConnection,
  SqlEngine,
  SqlParam,
  Statement,
  StreamOptions,
  TakePiece,
} from '../sql/index.ts';

/**
 * The same engine, whose connections are dropped when a call has no answer after `answerMs`: the call then
 * fails with `DB_UNREACHABLE`, or `DB_OUTCOME_UNKNOWN` where the contract of connections says so. An embedded
 * engine is returned as it is: it has no server that could fall silent.
 */
export function boundedEngine(engine: SqlEngine, clock: Clock, answerMs: number): SqlEngine {
  if (engine.kind === 'embedded') return engine;
  const bounded = (connection: SqlConnection): SqlConnection =>
    new BoundedConnection(connection, clock, answerMs);
  return {
    kind: engine.kind,
    dialect: engine.dialect,
    connect: async (options) => bounded(await engine.connect(options)),
    use: (purpose, work, signal) => engine.use(purpose, (connection) => work(bounded(connection)), signal),
    read: (purpose, work, signal) => engine.read(purpose, (connection) => work(bounded(connection)), signal),
    endpoints: engine.endpoints,
    kill: (connectionId) => engine.kill(connectionId),
    close: () => engine.close(),
  };
}

class BoundedConnection implements SqlConnection {
  readonly id: string;
  readonly #connection: SqlConnection;
  readonly #clock: Clock;
  readonly #answerMs: number;
  #expired = false;

  constructor(connection: SqlConnection, clock: Clock, answerMs: number) {
    this.id = connection.id;
    this.#connection = connection;
    this.#clock = clock;
    this.#answerMs = answerMs;
  }

  query(sql: string, params?: readonly SqlParam[], options?: QueryOptions): Promise<ResultSet> {
    return this.#answered(() => this.#connection.query(sql, params, options));
  }

  stream(sql: string, params: readonly SqlParam[], options: StreamOptions, take: TakePiece): Promise<void> {
    return this.#answered(() => this.#connection.stream(sql, params, options, take));
  }

  insertRows(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly SqlParam[])[],
  ): Promise<void> {
    return this.#answered(() => this.#connection.insertRows(table, columns, rows));
  }

  batch(statements: readonly Statement[]): Promise<ResultSet[]> {
    return this.#answered(() => this.#connection.batch(statements));
  }

  later(sql: string, params?: readonly SqlParam[]): Promise<void> {
    return this.#answered(() => this.#connection.later(sql, params));
  }

  begin(mode: 'write' | 'snapshot', marker?: string): Promise<void> {
    return this.#answered(() => this.#connection.begin(mode, marker));
  }

  commit(): Promise<void> {
    return this.#answered(() => this.#connection.commit());
  }

  rollback(): Promise<void> {
    return this.#answered(() => this.#connection.rollback());
  }

  close(): Promise<void> {
    return this.#answered(() => this.#connection.close());
  }

  destroy(): void {
    this.#connection.destroy();
  }

  async #answered<T>(call: () => Promise<T>): Promise<T> {
    const cancel = this.#clock.after(this.#answerMs, () => {
      this.#expired = true;
      this.#connection.destroy();
    });
    try {
      return await call();
    } catch (error) {
      if (!this.#expired || !isTidemarkError(error, 'DB_UNREACHABLE')) throw error;
      throw new TidemarkError('DB_UNREACHABLE', `the server did not answer within ${this.#answerMs} ms`, {
        next: 'See that its host is up. Collecting goes on when it answers.',
        cause: error,
      });
    } finally {
      cancel();
    }
  }
}
