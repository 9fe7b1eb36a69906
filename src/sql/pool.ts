/** A bounded pool over any engine's connections. Callers wait in order; their number is bounded too. */
import { assert, LIMITS, TidemarkError } from '../base/index.ts';
import type { ConnectOptions, SqlConnection } from './engine.ts';

/** What a pool must know of a connection beyond the contract. */
export interface PooledConnection extends SqlConnection {
  /** False once it was lost, closed or destroyed. */
  readonly usable: boolean;
  readonly inTransaction: boolean;
}

export interface PoolOptions<C extends PooledConnection> {
  readonly label: string;
  readonly max: number;
  /** An idle connection older than this is closed: below the server's own idle timeout. */
  readonly idleMs: number;
  connect(options: ConnectOptions): Promise<C>;
}

interface Idle<C> {
  readonly connection: C;
  readonly timer: NodeJS.Timeout;
}

interface Waiter {
  admit(): void;
  refuse(error: TidemarkError): void;
}

export class Pool<C extends PooledConnection> {
  readonly #options: PoolOptions<C>;
  readonly #idle: Idle<C>[] = [];
  readonly #used = new Set<C>();
  readonly #closing = new Set<Promise<void>>();
  readonly #waiters: Waiter[] = [];
  #admitted = 0;
  #closed = false;

  constructor(options: PoolOptions<C>) {
    assert(options.max > 0, 'a pool has room for a connection');
    this.#options = options;
  }

  /**
   * Runs `work` on a connection. One that failed, or that `work` left inside a transaction, is dropped.
   * @throws TidemarkError `OVERLOADED` when too many wait, `CANCELLED`, `STOPPING`, and what `connect`
   * throws.
   */
  async use<T>(
    purpose: string,
    work: (connection: C) => Promise<T>,
    signal: AbortSignal | undefined,
    onAbort: (connection: C) => Promise<void>,
  ): Promise<T> {
    await this.#admit(signal);
    try {
      const connection = this.#take() ?? (await this.#connect(purpose, signal));
      return await this.#run(connection, work, signal, onAbort);
    } finally {
      this.#leave();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#waiters.splice(0)) waiter.refuse(this.#refusal('STOPPING', 'is closing'));
    for (const connection of this.#used) connection.destroy();
    for (const { connection, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      this.#discard(connection);
    }
    await Promise.all(this.#closing);
  }

  async #run<T>(
    connection: C,
    work: (connection: C) => Promise<T>,
    signal: AbortSignal | undefined,
    onAbort: (connection: C) => Promise<void>,
  ): Promise<T> {
    let aborting: Promise<void> | undefined;
    const abort = (): void => {
      aborting = onAbort(connection);
      // Awaited below; a failure of it must not end the process before.
      aborting.catch(() => undefined);
    };
    this.#used.add(connection);
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) abort();
    try {
      return await work(connection);
    } catch (error) {
      // Cancelled means gone: the caller hears of it when the server shows the statement no more.
      await aborting;
      if (signal?.aborted === true) {
        throw new TidemarkError('CANCELLED', `${this.#options.label}: cancelled`, { cause: error });
      }
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
      // Work that ended before the abort reached it keeps its result; only the kill is waited for.
      await Promise.allSettled([aborting]);
      this.#used.delete(connection);
      this.#giveBack(connection);
    }
  }

  #connect(purpose: string, signal: AbortSignal | undefined): Promise<C> {
    return this.#options.connect(signal === undefined ? { purpose } : { purpose, signal });
  }

  #giveBack(connection: C): void {
    if (!connection.usable || connection.inTransaction || this.#closed) {
      this.#discard(connection);
      return;
    }
    const timer = setTimeout(() => {
      const at = this.#idle.findIndex((idle) => idle.connection === connection);
      if (at !== -1) this.#idle.splice(at, 1);
      this.#discard(connection);
    }, this.#options.idleMs);
    timer.unref();
    this.#idle.push({ connection, timer });
  }

  #take(): C | undefined {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      clearTimeout(idle.timer);
      if (idle.connection.usable) return idle.connection;
      this.#discard(idle.connection);
    }
    return undefined;
  }

  #discard(connection: C): void {
    if (!connection.usable || connection.inTransaction) {
      connection.destroy();
      return;
    }
    const closing = connection.close().catch(() => {
      connection.destroy();
    });
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }

  #admit(signal: AbortSignal | undefined): Promise<void> {
    if (this.#closed) return Promise.reject(this.#refusal('STOPPING', 'is closed'));
    if (signal?.aborted === true) return Promise.reject(this.#refusal('CANCELLED', 'cancelled'));
    if (this.#admitted < this.#options.max) {
      this.#admitted += 1;
      return Promise.resolve();
    }
    if (this.#waiters.length >= LIMITS.sqlPoolWaitingMax) {
      return Promise.reject(this.#refusal('OVERLOADED', 'too many wait for a connection'));
    }
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(this.#refusal('CANCELLED', 'cancelled'));
      };
      const waiter: Waiter = {
        admit: () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
        refuse: (error) => {
          signal?.removeEventListener('abort', abort);
          reject(error);
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  /** Hands the place on, so that nobody can slip in before one that waits. */
  #leave(): void {
    const next = this.#waiters.shift();
    if (next === undefined) this.#admitted -= 1;
    else next.admit();
  }

  #refusal(code: 'STOPPING' | 'CANCELLED' | 'OVERLOADED', what: string): TidemarkError {
    return new TidemarkError(code, `${this.#options.label}: ${what}`);
  }
}
