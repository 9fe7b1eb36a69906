/**
 * The thread that holds one connection of the embedded engine, whose calls block. Two things shape it:
 *
 * 1. A worker cannot be made from TypeScript, and tests run from source. So the whole of it is one class
 *    that names nothing outside itself, and the thread is started from its text ({@link workerSource}).
 * 2. Ending a thread that is inside a call of the library aborts the process (libsql 0.5: a Rust panic).
 *    So both sides share one word. The thread goes IDLE -> CALLING before it calls; the other side may end
 *    the thread only after IDLE -> ENDED. During a call it asks by CALLING -> ENDING, and the thread closes
 *    the
 *    database and leaves by itself.
 */
import type { MessagePort } from 'node:worker_threads';

/** The shared word. */
export const WORKER_STATE = { idle: 0, calling: 1, ended: 2, ending: 3 } as const;

export type WorkerValue = null | bigint | number | string | Uint8Array;

export interface WorkerInput {
  /** Path of the library, resolved by the side that has a module path. */
  readonly library: string;
  readonly file: string;
  readonly shared: SharedArrayBuffer;
  readonly states: typeof WORKER_STATE;
  /** How long a statement waits for another connection's lock. */
  readonly busyWaitMs: number;
  /** How often it asks for a lock that another holds. */
  readonly pollMs: number;
  readonly rowsMax: number;
  /** The code of a result with more rows. */
  readonly tooMany: string;
}

export interface WorkerRequest {
  readonly id: number;
  /** Null ends the connection in an orderly way. */
  readonly sql: string | null;
  readonly params: readonly WorkerValue[];
  /** Gives the first rows of a result, as many; with an empty text the next ones of the same. */
  readonly pieceRows?: number;
}

export interface WorkerReply {
  readonly id: number;
  readonly inTransaction: boolean;
  readonly result?: {
    readonly columns: readonly { readonly name: string; readonly type: string | null }[];
    readonly rows: readonly (readonly WorkerValue[])[];
    readonly changes: number;
    /** Whether there may be more rows than these. */
    readonly more?: boolean;
  };
  readonly error?: { readonly code: string; readonly message: string };
}

/** What is used of the library's face. */
interface Library {
  new (file: string, options: { timeout: number }): Database;
}
interface Database {
  readonly inTransaction: boolean;
  defaultSafeIntegers(on: boolean): void;
  prepare(sql: string): Statement;
  close(): void;
}
interface Statement {
  readonly reader: boolean;
  raw(on: boolean): Statement;
  columns(): readonly { readonly name: string; readonly type: string | null }[];
  iterate(params: readonly WorkerValue[]): Iterable<WorkerValue[]>;
  run(params: readonly WorkerValue[]): { readonly changes: number };
}

type Result = NonNullable<WorkerReply['result']>;

/** What the thread runs. It may name nothing outside itself but globals and types. */
export class EmbeddedWorker {
  // No static members: the compiler would put a name beside the class for them.
  readonly #statementsMax = 100;
  readonly #cachedTextMax = 32 * 1024;
  readonly #port: MessagePort;
  readonly #input: WorkerInput;
  readonly #state: Int32Array;
  readonly #load: (path: string) => unknown;
  readonly #statements = new Map<string, Statement>();
  #database: Database | undefined;
  /** The result that is read piece by piece. */
  #reading: { readonly statement: Statement; readonly rows: Iterator<WorkerValue[]> } | undefined;

  constructor(port: MessagePort, input: WorkerInput, load: (path: string) => unknown) {
    this.#port = port;
    this.#input = input;
    this.#state = new Int32Array(input.shared);
    this.#load = load;
    port.on('message', (request: WorkerRequest) => {
      this.#answer(request);
    });
  }

  #answer(request: WorkerRequest): void {
    const { idle, calling, ending } = this.#input.states;
    if (Atomics.compareExchange(this.#state, 0, idle, calling) !== idle) return;
    if (request.sql === null) {
      this.#leave();
      return;
    }
    const outcome = this.#attempt(request.sql, request);
    const inTransaction = this.#database?.inTransaction === true;
    this.#port.postMessage({ id: request.id, inTransaction, ...outcome });
    if (Atomics.compareExchange(this.#state, 0, calling, idle) === ending) this.#leave();
  }

  #leave(): void {
    this.#database?.close();
    this.#database = undefined;
    Atomics.store(this.#state, 0, this.#input.states.ended);
    Atomics.notify(this.#state, 0);
    this.#port.close();
  }

  #attempt(sql: string, { params, pieceRows }: WorkerRequest): Pick<WorkerReply, 'result' | 'error'> {
    try {
      if (sql === '') return { result: this.#piece(pieceRows ?? 0) };
      return { result: this.#runPatiently(sql, params, pieceRows) };
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      return { error: { code: code ?? '', message } };
    }
  }

  /** Repeats a statement that found the database locked; inside a transaction that is the caller's to do. */
  #runPatiently(sql: string, params: readonly WorkerValue[], pieceRows: number | undefined): Result {
    const { calling } = this.#input.states;
    const deadline = performance.now() + this.#input.busyWaitMs;
    // One that found the database locked stays active until it runs again, and then bars changes of the
    // schema.
    let statement: Statement | undefined;
    for (;;) {
      try {
        statement ??= this.#prepared(sql);
        if (pieceRows === undefined) return this.#run(statement, params);
        const rows = statement.raw(true).iterate(params)[Symbol.iterator]();
        this.#reading = { statement, rows };
        return this.#piece(pieceRows);
      } catch (error) {
        const busy = /^SQLITE_(?:BUSY|LOCKED)/.test((error as { code?: string }).code ?? '');
        const again = busy && this.#database?.inTransaction !== true && performance.now() < deadline;
        if (!again || Atomics.wait(this.#state, 0, calling, this.#input.pollMs) === 'not-equal') throw error;
      }
    }
  }

  #run(statement: Statement, params: readonly WorkerValue[]): Result {
    const { rowsMax, tooMany } = this.#input;
    if (!statement.reader) return { columns: [], rows: [], changes: statement.run(params).changes };
    const rows: WorkerValue[][] = [];
    for (const row of statement.raw(true).iterate(params)) {
      if (rows.length >= rowsMax)
        throw Object.assign(new Error(`more than ${rowsMax} rows`), { code: tooMany });
      rows.push(this.#sendable(row));
    }
    return { columns: this.#columns(statement), rows, changes: 0 };
  }

  #piece(pieceRows: number): Result {
    const reading = this.#reading;
    if (reading === undefined) throw new Error('nothing is being read');
    const rows: WorkerValue[][] = [];
    while (rows.length < pieceRows) {
      const next = reading.rows.next();
      if (next.done === true) {
        this.#reading = undefined;
        break;
      }
      rows.push(this.#sendable(next.value));
    }
    const more = this.#reading !== undefined;
    return { columns: this.#columns(reading.statement), rows, changes: 0, more };
  }

  /** A Buffer may be a slice of a large pool, all of which would be copied to the other thread. */
  #sendable(row: readonly WorkerValue[]): WorkerValue[] {
    return row.map((value) => (value instanceof Uint8Array ? new Uint8Array(value) : value));
  }

  #columns(statement: Statement): Result['columns'] {
    return statement.columns().map(({ name, type }) => ({ name, type }));
  }

  #prepared(sql: string): Statement {
    const found = this.#statements.get(sql);
    if (found !== undefined) return found;
    const statement = this.#open().prepare(sql);
    if (this.#statements.size >= this.#statementsMax) this.#statements.clear();
    // An insert of many rows is a long text; a hundred of them are a few MB.
    const repeats =
      sql.length <= this.#cachedTextMax &&
      /^\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|BEGIN|COMMIT|ROLLBACK)\b/i.test(sql);
    if (repeats) this.#statements.set(sql, statement);
    return statement;
  }

  #open(): Database {
    if (this.#database === undefined) {
      const LibraryClass = this.#load(this.#input.library) as Library;
      this.#database = new LibraryClass(this.#input.file, { timeout: 0 });
      this.#database.defaultSafeIntegers(true);
    }
    return this.#database;
  }
}

/** The program of the thread, as CommonJS text. */
export function workerSource(): string {
  const threads = `require('node:worker_threads')`;
  return `new (${EmbeddedWorker.toString()})(${threads}.parentPort, ${threads}.workerData, require);`;
}
