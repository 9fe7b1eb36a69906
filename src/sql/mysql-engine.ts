/** MySQL and MariaDB. MariaDB 10.11 is what tests run on. */
import { LIMITS, isTidemarkError, mutated, sleep, systemClock, TidemarkError } from '../base/index.ts';
import { CONNECT_MS, LOCK_WAIT_MS, STATEMENT_MS, type EngineOptions } from './engine-options.ts';
import type { ConnectOptions, DatabaseAddress, SqlConnection, SqlEngine } from './engine.ts';
import { parseMysqlUrl, type MysqlTarget } from './mysql-address.ts';
import { MysqlConnection } from './mysql-connection.ts';
import { mysqlDialect } from './mysql-dialect.ts';
import type { MysqlConnectOptions, MysqlWaits } from './mysql-native.ts';
import { Pool } from './pool.ts';

/**
 * Pooled connections carry merges: a stopped process inside a transaction holds its locks no longer than
 * this (design 6.8). The pool itself lets go of idle ones well before.
 */
const POOLED_IDLE_SECONDS = 15;
const POOL_IDLE_MS = 8_000;
/**
 * A connection that only reads holds no locks, and waits while what it read is staged elsewhere, which may
 * take as long as a large SELECT. Work that was given to another is killed at the server by its mark.
 */
const READER_IDLE_SECONDS = 3_600;

/** How much of the time in which a statement must be answered a SELECT may take. */
const SELECT_SHARE = 0.9;

const KILL_DEADLINE_MS = 10_000;
const KILL_GRACE_MS = 1_000;
const KILL_POLL_MS = 10;
/** "Unknown thread id": the connection has gone already. */
const NO_SUCH_THREAD = '1094';

/** Opens nothing yet. @throws TidemarkError `CONFIG_INVALID` for a URL that is not understood. */
export function openMysql(
  address: Extract<DatabaseAddress, { kind: 'mysql' }>,
  options: EngineOptions = {},
): SqlEngine {
  return new MysqlEngine(parseMysqlUrl(address.url), options);
}

class MysqlEngine implements SqlEngine {
  readonly kind = 'mysql';
  readonly dialect = mysqlDialect;
  readonly #target: MysqlTarget;
  readonly #waits: MysqlWaits;
  readonly endpoints = [this];
  readonly #pool: Pool<MysqlConnection>;
  readonly #readers: Pool<MysqlConnection>;

  constructor(target: MysqlTarget, options: EngineOptions) {
    this.#target = target;
    this.#waits = {
      lockWaitMs: options.lockWaitMs ?? LOCK_WAIT_MS,
      connectMs: options.connectMs ?? CONNECT_MS,
      statementMs: options.statementMs ?? STATEMENT_MS,
    };
    const pool = (more: Partial<MysqlConnectOptions>): Pool<MysqlConnection> =>
      new Pool({
        label: target.label,
        max: options.poolMax ?? LIMITS.sqlPoolMax,
        idleMs: POOL_IDLE_MS,
        connect: (how) => this.#open({ ...how, idleSeconds: POOLED_IDLE_SECONDS, ...more }),
      });
    this.#pool = pool({ batches: true });
    // What is given up here must not go on there; the server is a little sooner, so that it can say so.
    this.#readers = pool({
      selectMs: Math.ceil(this.#waits.statementMs * SELECT_SHARE),
      ...(mutated('sql.readersHangUpSoon') ? {} : { idleSeconds: READER_IDLE_SECONDS }),
    });
  }

  async connect(options: ConnectOptions): Promise<SqlConnection> {
    const connection = await this.#open(options);
    const { signal } = options;
    signal?.addEventListener(
      'abort',
      () => {
        void this.#drop(connection);
      },
      { once: true },
    );
    return connection;
  }

  use<T>(purpose: string, work: (connection: SqlConnection) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#pool.use(purpose, work, signal, (connection) => this.#cut(connection));
  }

  read<T>(
    purpose: string,
    work: (connection: SqlConnection) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.#readers.use(purpose, work, signal, (connection) => this.#cut(connection));
  }

  /**
   * A dropped socket does not stop a statement, so this asks the server from a side connection and waits
   * until its process list no longer shows the connection.
   * @throws TidemarkError `DB_BUSY` if it still does after 10 s, and what `connect` throws.
   */
  async kill(connectionId: string): Promise<void> {
    if (!/^\d+$/.test(connectionId))
      throw new TidemarkError('DB_FAILED', `not a connection id: ${connectionId}`);
    const side = await this.#open({ purpose: 'kill' });
    // Also when the server stops answering in between.
    const deadline = setTimeout(() => {
      side.destroy();
    }, KILL_DEADLINE_MS + KILL_GRACE_MS);
    try {
      await this.#killFrom(side, connectionId);
    } finally {
      clearTimeout(deadline);
      await side.close();
    }
  }

  #open(options: ConnectOptions & Pick<MysqlConnectOptions, 'batches'>): Promise<MysqlConnection> {
    return MysqlConnection.open(this.#target, { ...options, ...this.#waits });
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.close(), this.#readers.close()]);
  }

  async #cut(connection: MysqlConnection): Promise<void> {
    connection.destroy();
    await this.kill(connection.id);
  }

  async #killFrom(side: MysqlConnection, connectionId: string): Promise<void> {
    try {
      await side.query(`KILL CONNECTION ${connectionId}`);
    } catch (error) {
      if (error instanceof TidemarkError && error.details['errno'] === NO_SUCH_THREAD) return;
      throw error;
    }
    const deadline = systemClock.monotonicMs() + KILL_DEADLINE_MS;
    for (;;) {
      const { rows } = await side.query('SELECT 1 FROM information_schema.processlist WHERE id = ?', [
        BigInt(connectionId),
      ]);
      if (rows.length === 0) return;
      if (systemClock.monotonicMs() > deadline) {
        throw new TidemarkError('DB_BUSY', `${this.#target.label}: connection ${connectionId} does not end`);
      }
      await sleep(systemClock, KILL_POLL_MS);
    }
  }

  /**
   * After an abort nobody waits: a kill that the server fails leaves the statement to its own timeouts. A
   * mistake of ours is not passed over: it ends the process.
   */
  async #drop(connection: MysqlConnection): Promise<void> {
    const { busy } = connection;
    connection.destroy();
    if (!busy) return;
    try {
      await this.kill(connection.id);
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
    }
  }
}
