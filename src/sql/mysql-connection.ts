/** One connection to MySQL or MariaDB, over mysql2's text protocol (see mysql-literals.ts for why). */
import type mysql from 'mysql2';
import { assert, LIMITS, must, mutated, TidemarkError, toTidemarkError } from '../base/index.ts';
import type {
  QueryOptions,
  ResultSet,
  SqlConnection,
  SqlParam,
  Statement,
  StreamOptions,
  TakePiece,
} from './engine.ts';
import { insertBatches } from './insert-batches.ts';
import type { MysqlTarget } from './mysql-address.ts';
import { mysqlDialect } from './mysql-dialect.ts';
import { isDeadlock, isLost, mysqlError } from './mysql-errors.ts';
import { bindText, literal } from './mysql-literals.ts';
import { connectNative, type MysqlConnectOptions } from './mysql-native.ts';
import { readResults } from './mysql-results.ts';
import { readPieces } from './mysql-stream.ts';
import { statementShape } from './statement-shape.ts';
import { Taker } from './taker.ts';

const IDLE_SECONDS = 60;

const BEGIN = {
  write: ['START TRANSACTION'],
  // Under READ COMMITTED the clause WITH CONSISTENT SNAPSHOT would do nothing.
  snapshot: [
    'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
    'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY',
  ],
};

/** What leaves it open whether it took effect if the connection is lost meanwhile. */
type Effect = 'none' | 'commit' | 'write';

/**
 * Else MariaDB gives a TIME that is taken for a DATETIME the date of the day on which it is asked, and a
 * deleted row would not take back what it added. MySQL has no such setting.
 */
const NO_TODAY = `/*M!100000 , SESSION old_mode =
  CONCAT_WS(',', NULLIF(@@old_mode, ''), 'ZERO_DATE_TIME_CAST') */`;

export class MysqlConnection implements SqlConnection {
  readonly id: string;
  readonly #label: string;
  readonly #native: mysql.Connection;
  readonly #statementMs: number;
  /** How to fail the statements under way. */
  readonly #pending = new Set<(error: Error) => void>();
  readonly #batches: boolean;
  /** Statements that the next one takes along; nothing came of them yet. */
  #first: readonly string[] = [];
  /** The lock by which the connection can be found, while a transaction has one. */
  #marker: string | undefined;
  #inTransaction = false;
  #closed = false;

  private constructor(native: mysql.Connection, label: string, options: MysqlConnectOptions) {
    this.#native = native;
    this.#label = label;
    this.#statementMs = options.statementMs;
    this.#batches = options.batches === true;
    this.id = String(native.threadId);
    native.on('error', () => {
      this.#closed = true;
    });
    native.on('end', () => {
      this.#closed = true;
    });
  }

  /**
   * The signal counts only while it opens.
   * @throws TidemarkError `DB_UNREACHABLE`, `DB_ACCESS`, `DB_BUSY` (too many connections), `CANCELLED`.
   */
  static async open(target: MysqlTarget, options: MysqlConnectOptions): Promise<MysqlConnection> {
    const { signal } = options;
    const native = await connectNative(target, options);
    const connection = new MysqlConnection(native, target.label, options);
    const abort = (): void => {
      connection.destroy();
    };
    signal?.addEventListener('abort', abort, { once: true });
    // A server that was stopped after its handshake must not keep the caller for ever.
    const deadline = setTimeout(abort, options.connectMs);
    try {
      for (const setting of mysqlDialect.sessionSettings) await connection.query(setting);
      const lockWait = Math.max(1, Math.ceil(options.lockWaitMs / 1_000));
      const idle = options.idleSeconds ?? IDLE_SECONDS;
      // While a result is not read on, the server waits in its write instead.
      const write = Math.max(idle, IDLE_SECONDS);
      await connection.#run(
        `SET SESSION wait_timeout = ${idle}, SESSION net_write_timeout = ${write}, ` +
          `SESSION innodb_lock_wait_timeout = ${lockWait} ${mutated('sql.timesAreOfToday') ? '' : NO_TODAY}`,
        'none',
      );
      if (options.selectMs !== undefined) await connection.#limitSelects(options.selectMs);
      if (options.readOnly === true) await connection.query('SET SESSION TRANSACTION READ ONLY');
      return connection;
    } catch (error) {
      connection.destroy();
      if (!isAborted(signal)) throw error;
      throw new TidemarkError('CANCELLED', `${target.label}: cancelled`, { cause: error });
    } finally {
      clearTimeout(deadline);
      signal?.removeEventListener('abort', abort);
    }
  }

  get usable(): boolean {
    return !this.#closed;
  }

  get inTransaction(): boolean {
    return this.#inTransaction;
  }

  /** Whether a statement is under way, which the server would go on with after the connection is dropped. */
  get busy(): boolean {
    return this.#pending.size > 0;
  }

  query(sql: string, params: readonly SqlParam[] = [], options: QueryOptions = {}): Promise<ResultSet> {
    return this.#run(this.#bound(sql, params), this.#effectOf(sql), options.answerMs);
  }

  async later(sql: string, params: readonly SqlParam[] = []): Promise<void> {
    assert(this.#inTransaction, 'what may come later is part of a transaction');
    this.#first = [...this.#first, this.#bound(sql, params)];
    if (!this.#batches) await this.#sendFirst();
  }

  async batch(statements: readonly Statement[]): Promise<ResultSet[]> {
    assert(this.#inTransaction, 'a batch is part of a transaction');
    const texts = statements.map(({ sql, params = [] }) => this.#bound(sql, params));
    return this.#guarded('none', () => this.#sendAll(texts));
  }

  async stream(
    sql: string,
    params: readonly SqlParam[],
    { pieceRows, selectMs }: StreamOptions,
    take: TakePiece,
  ): Promise<void> {
    const limit =
      selectMs === undefined ? '' : `/*M! SET STATEMENT max_statement_time = ${selectMs / 1_000} FOR */ `;
    const text = limit + bindText(sql, params);
    const taker = new Taker(take);
    await this.#sendFirst();
    const whole = await this.#guarded('none', () => this.#pieces(text, pieceRows, taker));
    if (!whole) this.destroy();
    taker.rethrow();
  }

  async insertRows(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly SqlParam[])[],
  ): Promise<void> {
    const names = columns.map((name) => mysqlDialect.id(name)).join(', ');
    const head = `INSERT INTO ${mysqlDialect.id(table)} (${names}) VALUES `;
    for (const [from, to] of insertBatches(columns, rows)) {
      const values = rows.slice(from, to).map((row) => `(${row.map(literal).join(', ')})`);
      await this.#run(head + values.join(', '), this.#inTransaction ? 'none' : 'write');
    }
  }

  async begin(mode: 'write' | 'snapshot', marker?: string): Promise<void> {
    assert(!this.#inTransaction, 'transactions do not nest');
    this.#assertOpen();
    this.#marker = marker;
    this.#inTransaction = true;
    const mark = marker === undefined ? [] : [`DO GET_LOCK(${literal(marker)}, 0)`];
    this.#first = [...mark, ...BEGIN[mode]];
    if (mode === 'snapshot' || !this.#batches) await this.#sendFirst();
  }

  async commit(): Promise<void> {
    await this.#end('COMMIT', 'commit');
  }

  async rollback(): Promise<void> {
    if (this.#inTransaction) await this.#end('ROLLBACK', 'none');
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await new Promise<void>((resolve) => {
      this.#native.end((error) => {
        // QUIT could not be said: the socket is dropped instead, which says the same.
        if (error !== null) this.#native.destroy();
        resolve();
      });
    });
  }

  destroy(): void {
    this.#closed = true;
    this.#native.destroy();
    // mysql2 forgets the callbacks of a destroyed connection; those who wait are told here.
    for (const fail of [...this.#pending]) fail(new Error('the connection was dropped'));
  }

  /** MariaDB and MySQL have different names and units for it; each takes the other's for a comment. */
  async #limitSelects(ms: number): Promise<void> {
    const mariadb = `/*M! , SESSION max_statement_time = ${ms / 1_000} */`;
    const mysqlOnly = `/*!50700 , SESSION max_execution_time = ${ms} */`;
    await this.#run(`SET SESSION sql_auto_is_null = 0 ${mariadb} ${mysqlOnly}`, 'none');
  }

  async #end(how: 'COMMIT' | 'ROLLBACK', effect: Effect): Promise<void> {
    this.#assertOpen();
    try {
      await this.#guarded(effect, () => this.#sendAll(this.#endOf(how)));
    } catch (error) {
      // It may still have its marker.
      this.destroy();
      throw error;
    }
  }

  /** What ends the transaction. A server that has not heard of it takes no harm. */
  #endOf(how: 'COMMIT' | 'ROLLBACK'): string[] {
    const marker = this.#marker;
    if (how === 'ROLLBACK') this.#first = [];
    this.#marker = undefined;
    this.#inTransaction = false;
    if (marker === undefined || mutated('sql.markerStays')) return [how];
    return [how, `DO RELEASE_LOCK(${literal(marker)})`];
  }

  async #sendFirst(): Promise<void> {
    if (this.#first.length > 0) await this.#guarded('none', () => this.#sendAll([]));
  }

  #effectOf(sql: string): Effect {
    return this.#inTransaction || statementShape(sql, 'mysql').reads ? 'none' : 'write';
  }

  #run(text: string, effect: Effect, answerMs = this.#statementMs): Promise<ResultSet> {
    return this.#guarded(effect, async () =>
      must((await this.#sendAll([text], answerMs)).at(-1), 'the result of a statement'),
    );
  }

  async #guarded<T>(effect: Effect, work: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    try {
      return await work();
    } catch (error) {
      // Of a COMMIT only a deadlock is a known failure; whatever else is said of it is not trusted.
      const lost = !this.usable || isLost(error) || (effect === 'commit' && !isDeadlock(error));
      const mapped = mysqlError(error, this.#label, { lost, outcomeUnknown: effect !== 'none' });
      await this.#afterError(mapped, lost);
      throw mapped;
    }
  }

  /** Several statements in one text were an error of the server's, and would be run here. */
  #bound(sql: string, params: readonly SqlParam[]): string {
    if (this.#batches && !mutated('sql.severalStatementsPass')) statementShape(sql, 'mysql');
    return bindText(sql, params);
  }

  #assertOpen(): void {
    if (this.#closed) throw new TidemarkError('DB_UNREACHABLE', `${this.#label}: the connection is closed`);
  }

  /** Keeps the contract: a lost connection is closed, a busy transaction is rolled back as a whole. */
  async #afterError(error: TidemarkError, lost: boolean): Promise<void> {
    if (lost) {
      this.#endOf('ROLLBACK');
      this.destroy();
    } else if (error.code === 'DB_BUSY' && this.#inTransaction && !mutated('sql.lockWaitKeepsTransaction')) {
      // A lock wait timeout rolls back only its statement; the rest must not stay half done.
      await this.#sendAll(this.#endOf('ROLLBACK')).catch(() => {
        this.destroy();
      });
    }
  }

  async #pieces(text: string, pieceRows: number, taker: Taker): Promise<boolean> {
    let failed: (error: Error) => void = () => undefined;
    try {
      return await readPieces(this.#native, text, {
        pieceRows,
        silenceMs: this.#statementMs,
        taker,
        onStart: (fail) => {
          failed = fail;
          this.#pending.add(fail);
        },
      });
    } finally {
      this.#pending.delete(failed);
    }
  }

  /** What waits to be sent goes first; its results are left out. */
  async #sendAll(texts: readonly string[], answerMs = this.#statementMs): Promise<ResultSet[]> {
    const first = this.#first;
    this.#first = [];
    const all = [...first, ...texts];
    if (this.#batches) return (await this.#send(all.join('\n;'), answerMs)).slice(first.length);
    const results: ResultSet[] = [];
    for (const text of all) results.push(...(await this.#send(text, answerMs)));
    return results.slice(first.length);
  }

  /** Resolves to a result for each statement of the text. */
  #send(text: string, answerMs: number): Promise<ResultSet[]> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        clearTimeout(deadline);
        this.#pending.delete(fail);
        reject(error);
      };
      // A host that lost its power closes nothing: without this the caller would wait as long as TCP does.
      const deadline = setTimeout(() => {
        fail(new Error(`the server did not answer within ${answerMs} ms`));
        this.destroy();
      }, answerMs);
      this.#pending.add(fail);
      // Without values mysql2 would look for placeholders once more, in texts of megabytes too.
      const options = { sql: text, values: null, rowsAsArray: true };
      this.#native.query(options, (error, rows, fields) => {
        if (!this.#pending.delete(fail)) return;
        clearTimeout(deadline);
        if (error !== null) {
          reject(error);
          return;
        }
        try {
          resolve(readResults(rows, fields, LIMITS.sqlRowsPerFetchMax));
        } catch (problem) {
          reject(toTidemarkError(problem));
        }
      });
    });
  }
}

/** Asks anew: the compiler takes an earlier answer for the last one. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
