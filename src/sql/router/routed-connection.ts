import type {
  QueryOptions,
  ResultSet,
  SqlConnection,
  SqlParam,
  Statement,
  StreamOptions,
  TakePiece,
} from '../engine.ts';
import { Taker } from '../taker.ts';

/** What the group is told of a connection that it has handed out. */
export interface ConnectionWatch {
  failed(error: unknown): void;
  /** The one who took rows failed, maybe at another database. */
  takerFailed?(): void;
  ended(): void;
}

/** A connection whose id names its server too, and whose errors the group hears of. */
export class RoutedConnection implements SqlConnection {
  readonly id: string;
  readonly #connection: SqlConnection;
  readonly #watch: ConnectionWatch;
  #destroyed = false;

  constructor(connection: SqlConnection, server: number, watch: ConnectionWatch) {
    this.id = `${server}:${connection.id}`;
    this.#connection = connection;
    this.#watch = watch;
  }

  query(sql: string, params?: readonly SqlParam[], options?: QueryOptions): Promise<ResultSet> {
    return this.#watched(this.#connection.query(sql, params, options));
  }

  async stream(
    sql: string,
    params: readonly SqlParam[],
    options: StreamOptions,
    take: TakePiece,
  ): Promise<void> {
    // What the taker meets, maybe at another database, says nothing of this server.
    const taker = new Taker(take);
    await this.#watched(this.#connection.stream(sql, params, options, (piece) => taker.take(piece)));
    if (taker.failed) this.#watch.takerFailed?.();
    taker.rethrow();
  }

  insertRows(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly SqlParam[])[],
  ): Promise<void> {
    return this.#watched(this.#connection.insertRows(table, columns, rows));
  }

  batch(statements: readonly Statement[]): Promise<ResultSet[]> {
    return this.#watched(this.#connection.batch(statements));
  }

  later(sql: string, params?: readonly SqlParam[]): Promise<void> {
    return this.#watched(this.#connection.later(sql, params));
  }

  begin(mode: 'write' | 'snapshot', marker?: string): Promise<void> {
    return this.#watched(this.#connection.begin(mode, marker));
  }

  commit(): Promise<void> {
    return this.#watched(this.#connection.commit());
  }

  rollback(): Promise<void> {
    return this.#watched(this.#connection.rollback());
  }

  close(): Promise<void> {
    this.#watch.ended();
    return this.#connection.close();
  }

  destroy(): void {
    this.#destroyed = true;
    this.#watch.ended();
    this.#connection.destroy();
  }

  async #watched<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      // What its holder dropped says nothing of the server.
      if (!this.#destroyed) this.#watch.failed(error);
      throw error;
    }
  }
}
