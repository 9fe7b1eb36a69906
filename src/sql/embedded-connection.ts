/** One connection of the embedded engine: the near side of a worker thread (embedded-worker.ts). */
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { assert, LIMITS, mutated, TidemarkError } from '../base/index.ts';
import { embeddedDialect } from './embedded-dialect.ts';
import { embeddedError, endsConnection, ROWS_MAX_CODE } from './embedded-errors.ts';
import {
  WORKER_STATE,
  type WorkerInput,
  type WorkerReply,
  type WorkerRequest,
  type WorkerValue,
  workerSource,
} from './embedded-worker.ts';
import type {
  ConnectOptions,
  ResultColumn,
  ResultSet,
  SqlConnection,
  SqlParam,
  Statement,
  StreamOptions,
  TakePiece,
} from './engine.ts';
import { insertBatches } from './insert-batches.ts';
import { assertBound, statementShape } from './statement-shape.ts';
import { Taker } from './taker.ts';
import { type EndTurn, POLL_MS, type WriterTurns } from './writer-turns.ts';

/** How long the exit of the process waits for a call that is under way. */
const EXIT_WAIT_MS = 5_000;
/** SQLite's bound for placeholders in one statement (sqlite.org/limits.html, 9). */
const VARIABLES_MAX = 32_000;
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

export interface EmbeddedOptions {
  /** How long a statement or BEGIN waits for another process's writer, milliseconds. */
  readonly lockWaitMs: number;
  /** Shared by all connections of this process to the file. */
  readonly turns: WriterTurns;
}

/** `more`: of a result that is read piece by piece. */
interface Answer extends ResultSet {
  readonly more: boolean;
}

interface Waiting {
  readonly sql: string | null;
  resolve(result: Answer): void;
  reject(error: TidemarkError): void;
}

/** States of all live threads: a process must not end while one is inside a call (embedded-worker.ts, 2). */
const live = new Set<Int32Array>();
let exitHook = false;

function endAll(): void {
  for (const state of live) {
    if (!askToEnd(state)) Atomics.wait(state, 0, WORKER_STATE.ending, EXIT_WAIT_MS);
  }
}

/** Returns true if the thread may be terminated now, false if it will leave after its call. */
function askToEnd(state: Int32Array): boolean {
  const { idle, calling, ended, ending } = WORKER_STATE;
  const found = Atomics.compareExchange(state, 0, idle, ended);
  if (found === idle || found === ended) return true;
  Atomics.compareExchange(state, 0, calling, ending);
  Atomics.notify(state, 0);
  return Atomics.compareExchange(state, 0, idle, ended) === idle;
}

function libraryPath(): string {
  try {
    return createRequire(import.meta.url).resolve('libsql');
  } catch (cause) {
    throw new TidemarkError('ENGINE_MISSING', 'the embedded engine needs the package libsql', {
      next: 'Install it: npm install libsql. Or use MySQL.',
      cause,
    });
  }
}

let connections = 0;

export class EmbeddedConnection implements SqlConnection {
  readonly id: string;
  readonly #file: string;
  readonly #worker: Worker;
  readonly #state: Int32Array;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<void>;
  #next = 1;
  readonly #turns: WriterTurns;
  readonly #lockWaitMs: number;
  #endTurn: EndTurn | undefined;
  #inTransaction = false;
  #closed = false;

  private constructor(file: string, how: EmbeddedOptions) {
    connections += 1;
    this.#turns = how.turns;
    this.#lockWaitMs = how.lockWaitMs;
    this.id = `${process.pid}-${connections}`;
    this.#file = file;
    const shared = new SharedArrayBuffer(4);
    this.#state = new Int32Array(shared);
    const input: WorkerInput = {
      library: libraryPath(),
      file,
      shared,
      states: WORKER_STATE,
      busyWaitMs: how.lockWaitMs,
      pollMs: POLL_MS,
      rowsMax: LIMITS.sqlRowsPerFetchMax,
      tooMany: ROWS_MAX_CODE,
    };
    this.#worker = new Worker(workerSource(), {
      eval: true,
      execArgv: [],
      workerData: input,
      name: `tidemark-sql-${connections}`,
    });
    this.#exited = this.#watch();
  }

  /**
   * The signal counts only while it opens.
   * @throws TidemarkError `ENGINE_MISSING`, `DB_UNREACHABLE`, `DATA_CORRUPT`, `DB_BUSY`, `CANCELLED`.
   */
  static async open(
    file: string,
    options: ConnectOptions,
    how: EmbeddedOptions,
  ): Promise<EmbeddedConnection> {
    const { signal } = options;
    if (signal?.aborted === true) throw new TidemarkError('CANCELLED', `${file}: cancelled`);
    const connection = new EmbeddedConnection(file, how);
    const abort = (): void => {
      connection.destroy();
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      for (const setting of embeddedDialect.sessionSettings) await connection.query(setting);
      if (options.readOnly === true) await connection.query('PRAGMA query_only = 1');
      return connection;
    } catch (error) {
      connection.destroy();
      if (!isAborted(signal)) throw error;
      throw new TidemarkError('CANCELLED', `${file}: cancelled`, { cause: error });
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  get usable(): boolean {
    return !this.#closed;
  }

  get inTransaction(): boolean {
    return this.#inTransaction;
  }

  /** Resolves when the thread, and with it the connection and its locks, is gone. */
  get gone(): Promise<void> {
    return this.#exited;
  }

  async query(sql: string, params: readonly SqlParam[] = []): Promise<ResultSet> {
    assertBound(statementShape(sql, 'embedded'), params);
    return await this.#run(sql, params.map(workerValue));
  }

  async stream(
    sql: string,
    params: readonly SqlParam[],
    { pieceRows }: StreamOptions,
    take: TakePiece,
  ): Promise<void> {
    assertBound(statementShape(sql, 'embedded'), params);
    const taker = new Taker(take);
    let piece = await this.#run(sql, params.map(workerValue), pieceRows);
    while ((await taker.take(piece)) && piece.more) piece = await this.#run('', [], pieceRows);
    // A statement that is not read to its end stays active in the library.
    if (piece.more) this.destroy();
    taker.rethrow();
  }

  async insertRows(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly SqlParam[])[],
  ): Promise<void> {
    const names = columns.map((name) => embeddedDialect.id(name)).join(', ');
    const head = `INSERT INTO ${embeddedDialect.id(table)} (${names}) VALUES `;
    const tuple = `(${columns.map(() => '?').join(', ')})`;
    const rowsMax = Math.min(LIMITS.sqlInsertRowsMax, Math.floor(VARIABLES_MAX / columns.length));
    for (const [from, to] of insertBatches(columns, rows, rowsMax)) {
      const sql =
        head +
        Array<string>(to - from)
          .fill(tuple)
          .join(', ');
      await this.#run(sql, rows.slice(from, to).flat().map(workerValue));
    }
  }

  async batch(statements: readonly Statement[]): Promise<ResultSet[]> {
    assert(this.#inTransaction, 'a batch is part of a transaction');
    const results: ResultSet[] = [];
    for (const { sql, params } of statements) results.push(await this.query(sql, params));
    return results;
  }

  async later(sql: string, params?: readonly SqlParam[]): Promise<void> {
    assert(this.#inTransaction, 'what may come later is part of a transaction');
    await this.query(sql, params);
  }

  async begin(mode: 'write' | 'snapshot'): Promise<void> {
    assert(!this.#inTransaction, 'transactions do not nest');
    if (mode === 'write') {
      await this.#beginWrite();
      return;
    }
    await this.#run('BEGIN', []);
    // BEGIN alone takes no snapshot yet; the first read does.
    await this.#run('SELECT COUNT(*) FROM sqlite_master', []);
  }

  async #beginWrite(): Promise<void> {
    this.#assertOpen();
    const endTurn = await this.#turns.take(this.#lockWaitMs);
    this.#endTurn = endTurn;
    try {
      await this.#run('BEGIN IMMEDIATE', []);
    } catch (error) {
      endTurn();
      throw error;
    }
  }

  async commit(): Promise<void> {
    await this.#run('COMMIT', []);
  }

  async rollback(): Promise<void> {
    if (this.#inTransaction) await this.#run('ROLLBACK', []);
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#post({ id: 0, sql: null, params: [] });
      this.#worker.ref();
    }
    await this.#exited;
  }

  destroy(): void {
    this.#closed = true;
    this.#failAll('the connection was dropped');
    this.#inTransaction = false;
    // A thread inside a call ends itself after it; terminating it there would abort the process.
    if (askToEnd(this.#state)) void this.#worker.terminate();
  }

  async #run(sql: string, params: readonly WorkerValue[], pieceRows?: number): Promise<Answer> {
    this.#assertOpen();
    const before = this.#inTransaction;
    try {
      return await this.#send(sql, params, pieceRows);
    } catch (error) {
      if (!(error instanceof TidemarkError) || !this.usable) throw error;
      if (endsConnection(error)) {
        this.destroy();
        throw sql === 'COMMIT'
          ? new TidemarkError('DB_OUTCOME_UNKNOWN', error.message, { cause: error })
          : error;
      }
      if (error.code === 'DB_BUSY' && before && this.#inTransaction) await this.#send('ROLLBACK', []);
      // The statement that gave up stays active in the library, which offers no way to reset it.
      else if (error.code === 'DB_BUSY') this.destroy();
      throw error;
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw this.#lost('the connection is closed', null);
  }

  #send(sql: string, params: readonly WorkerValue[], pieceRows?: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const id = this.#next;
      this.#next += 1;
      this.#waiting.set(id, { sql, resolve, reject });
      // Work under way keeps the process alive, an idle connection does not.
      this.#worker.ref();
      this.#post({ id, sql, params, ...(pieceRows === undefined ? {} : { pieceRows }) });
    });
  }

  #post(request: WorkerRequest): void {
    this.#worker.postMessage(request);
  }

  #watch(): Promise<void> {
    if (!exitHook) process.on('exit', endAll);
    exitHook = true;
    live.add(this.#state);
    this.#worker.unref();
    this.#worker.on('message', (reply: WorkerReply) => {
      this.#settle(reply);
    });
    let problem = 'the connection has ended';
    this.#worker.on('error', (error: unknown) => {
      problem = error instanceof Error ? error.message : String(error);
    });
    return new Promise((resolve) => {
      this.#worker.once('exit', () => {
        live.delete(this.#state);
        this.#closed = true;
        // Only now is the lock of a dropped connection surely gone.
        this.#endTurn?.();
        this.#failAll(problem);
        resolve();
      });
    });
  }

  #settle(reply: WorkerReply): void {
    const waiting = this.#waiting.get(reply.id);
    if (waiting === undefined) return;
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    this.#inTransaction = reply.inTransaction;
    if (!reply.inTransaction && waiting.sql !== 'BEGIN IMMEDIATE') this.#endTurn?.();
    if (reply.error !== undefined) {
      waiting.reject(embeddedError(reply.error, this.#file));
    } else if (reply.result !== undefined) {
      const { columns, more = false } = reply.result;
      waiting.resolve({ ...reply.result, more, columns: columns.map(resultColumn) });
    }
  }

  #failAll(problem: string): void {
    for (const waiting of this.#waiting.values()) waiting.reject(this.#lost(problem, waiting.sql));
    this.#waiting.clear();
  }

  #lost(problem: string, sql: string | null): TidemarkError {
    const unknown = sql === 'COMMIT' || (sql !== null && !this.#inTransaction && !reads(sql));
    const code = unknown && !mutated('sql.lostCommitIsFailure') ? 'DB_OUTCOME_UNKNOWN' : 'DB_UNREACHABLE';
    return new TidemarkError(code, `${this.#file}: ${problem}`);
  }
}

function reads(sql: string): boolean {
  return sql === '' || /^(?:BEGIN|ROLLBACK|PRAGMA)\b/.test(sql) || statementShape(sql, 'embedded').reads;
}

/** Declared types only; of an expression SQLite says nothing. */
function resultColumn(column: { readonly name: string; readonly type: string | null }): ResultColumn {
  const declared = (column.type ?? '').toUpperCase();
  const found = TYPES.find(([pattern]) => pattern.test(declared));
  return { name: column.name, type: found?.[1] ?? 'unknown' };
}

const TYPES: readonly (readonly [RegExp, ResultColumn['type']])[] = [
  [/INT/, 'integer'],
  [/CHAR|CLOB|TEXT/, 'text'],
  [/BLOB|BINARY/, 'binary'],
  [/REAL|FLOA|DOUB/, 'float'],
];

/** @throws TidemarkError `VALUE_RANGE` for what SQLite cannot keep exactly. */
function workerValue(value: SqlParam): WorkerValue {
  switch (typeof value) {
    case 'boolean':
      return value ? 1n : 0n;
    case 'number':
      if (Number.isSafeInteger(value)) return BigInt(value);
      if (!Number.isFinite(value)) throw new TidemarkError('VALUE_RANGE', `${value} is not a number in SQL`);
      return value;
    case 'bigint':
      if (value < INT64_MIN || value > INT64_MAX) {
        throw new TidemarkError('VALUE_RANGE', `${value} does not fit 64 bits`);
      }
      return value;
    case 'string':
      // The library hands text back only up to its first zero character.
      if (value.includes('\0'))
        throw new TidemarkError('VALUE_RANGE', 'text with a zero character', {
          next: 'Keep such values as BYTES(n).',
        });
      return value;
    default:
      return value === null ? null : new Uint8Array(value);
  }
}

/** Asks anew: the compiler takes an earlier answer for the last one. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
