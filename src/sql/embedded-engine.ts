/**
 * The embedded engine: libsql (SQLite) files for `dev` and for trying Tidemark out. Readers see snapshots,
 * one writer at a time. Nothing here can end another process's connection: `dev` kills a stopped child
 * instead.
 */
import { LIMITS, TidemarkError } from '../base/index.ts';
import { EmbeddedConnection } from './embedded-connection.ts';
import { embeddedDialect } from './embedded-dialect.ts';
import { LOCK_WAIT_MS, type EngineOptions } from './engine-options.ts';
import type { ConnectOptions, DatabaseAddress, SqlConnection, SqlEngine } from './engine.ts';
import { Pool } from './pool.ts';
import { WriterTurns } from './writer-turns.ts';

/** An idle thread costs a few MB, so it goes after a while. */
const IDLE_MS = 30_000;

/** Opens nothing yet: the first connection does, and throws what is wrong with the file. */
export function openEmbedded(
  address: Extract<DatabaseAddress, { kind: 'embedded' }>,
  options: EngineOptions = {},
): SqlEngine {
  return new EmbeddedEngine(address.file, options);
}

class EmbeddedEngine implements SqlEngine {
  readonly kind = 'embedded';
  readonly dialect = embeddedDialect;
  readonly endpoints = [this];
  readonly #file: string;
  readonly #lockWaitMs: number;
  readonly #pool: Pool<EmbeddedConnection>;
  readonly #turns = new WriterTurns();
  readonly #connections = new Map<string, EmbeddedConnection>();

  constructor(file: string, options: EngineOptions) {
    this.#file = file;
    this.#lockWaitMs = options.lockWaitMs ?? LOCK_WAIT_MS;
    this.#pool = new Pool({
      label: file,
      max: options.poolMax ?? LIMITS.sqlPoolMax,
      idleMs: IDLE_MS,
      connect: (how) => this.#open(how),
    });
  }

  async connect(options: ConnectOptions): Promise<SqlConnection> {
    const connection = await this.#open(options);
    const abort = (): void => {
      connection.destroy();
    };
    options.signal?.addEventListener('abort', abort, { once: true });
    void connection.gone.then(() => options.signal?.removeEventListener('abort', abort));
    return connection;
  }

  use<T>(purpose: string, work: (connection: SqlConnection) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#pool.use(purpose, work, signal, (connection) => this.kill(connection.id));
  }

  /** Nothing ends a statement inside the library's thread: reads are as other work. */
  read<T>(
    purpose: string,
    work: (connection: SqlConnection) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.use(purpose, work, signal);
  }

  /**
   * Waits for a call that is under way: the library cannot be interrupted from outside its thread.
   * A connection that is not known (any more) is gone already, or another process's.
   */
  async kill(connectionId: string): Promise<void> {
    const connection = this.#connections.get(connectionId);
    connection?.destroy();
    await connection?.gone;
    const owner = connectionId.split('-')[0];
    if (connection === undefined && owner !== String(process.pid)) {
      throw new TidemarkError('DB_FAILED', `${this.#file}: connection ${connectionId} is another process's`);
    }
  }

  async close(): Promise<void> {
    await this.#pool.close();
    const rest = [...this.#connections.values()];
    for (const connection of rest) connection.destroy();
    await Promise.all(rest.map((connection) => connection.gone));
  }

  async #open(options: ConnectOptions): Promise<EmbeddedConnection> {
    const connection = await EmbeddedConnection.open(this.#file, options, {
      lockWaitMs: this.#lockWaitMs,
      turns: this.#turns,
    });
    this.#connections.set(connection.id, connection);
    void connection.gone.then(() => this.#connections.delete(connection.id));
    return connection;
  }
}
