/**
 * The thread that holds one connection of the embedded engine, whose calls block. Two things shape it:
 *
 * 1. A worker cannot be made from TypeScript, and tests run from source. So the whole of it is one function
 *    without imports or outer names, started from its own text (see embedded-connection.ts).
 * 2. Ending a thread that is inside a call of the library aborts the process (libsql 0.5: a Rust panic).
 *    So both sides share one word. The thread goes IDLE -> CALLING before it calls; the other side may end
 *    the thread only after IDLE -> ENDED. During a call it asks by CALLING -> ENDING, and the thread closes the
 *    database and leaves by itself.
 */

export const WORKER_STATE = { idle: 0, calling: 1, ended: 2, ending: 3 } as const;

export type WorkerValue = null | bigint | number | string | Uint8Array;

export interface WorkerInput {
  /** Path of the library, resolved by the side that has a module path. */
  readonly library: string;
  readonly file: string;
  readonly state: SharedArrayBuffer;
  /** How long a statement waits for another connection's lock. */
  readonly busyWaitMs: number;
  readonly rowsMax: number;
}

export interface WorkerRequest {
  readonly id: number;
  /** Null ends the connection in an orderly way. */
  readonly sql: string | null;
  readonly params: readonly WorkerValue[];
}

export interface WorkerReply {
  readonly id: number;
  readonly inTransaction: boolean;
  readonly result?: {
    readonly columns: readonly { readonly name: string; readonly type: string | null }[];
    readonly rows: readonly (readonly WorkerValue[])[];
    readonly changes: number;
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

/** Runs in the worker thread, from its text: nothing outside it may be named here but globals and types. */
export function embeddedWorkerMain(): void {
  const IDLE = 0;
  const CALLING = 1;
  const ENDED = 2;
  const ENDING = 3;
  const CACHED_MAX = 200;
  /** The library's own wait; short, so that a request to end is seen soon. */
  const NATIVE_WAIT_MS = 50;
  const TOO_MANY = 'TIDEMARK_ROWS_MAX';

  const threads = process.getBuiltinModule('node:worker_threads');
  if (threads.parentPort === null) throw new Error('not a worker thread');
  const port = threads.parentPort;
  const input = threads.workerData as WorkerInput;
  const { library, file, state: shared, busyWaitMs, rowsMax } = input;
  const state = new Int32Array(shared);
  const load = process.getBuiltinModule('node:module').createRequire(library);
  const cache = new Map<string, Statement>();
  let database: Database | undefined;

  function leave(): void {
    database?.close();
    database = undefined;
    Atomics.store(state, 0, ENDED);
    Atomics.notify(state, 0);
    port.close();
  }

  function open(): Database {
    if (database === undefined) {
      const LibraryClass = load(library) as Library;
      database = new LibraryClass(file, { timeout: NATIVE_WAIT_MS });
      database.defaultSafeIntegers(true);
    }
    return database;
  }

  function prepared(sql: string): Statement {
    const found = cache.get(sql);
    if (found !== undefined) return found;
    const statement = open().prepare(sql);
    if (cache.size >= CACHED_MAX) cache.clear();
    if (/^\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|BEGIN|COMMIT|ROLLBACK)\b/i.test(sql))
      cache.set(sql, statement);
    return statement;
  }

  function run(sql: string, params: readonly WorkerValue[]): NonNullable<WorkerReply['result']> {
    const statement = prepared(sql);
    if (!statement.reader) return { columns: [], rows: [], changes: statement.run(params).changes };
    const rows: WorkerValue[][] = [];
    for (const row of statement.raw(true).iterate(params)) {
      if (rows.length >= rowsMax)
        throw Object.assign(new Error(`more than ${rowsMax} rows`), { code: TOO_MANY });
      // A Buffer may be a slice of a large pool, all of which would be copied to the other thread.
      rows.push(row.map((value) => (value instanceof Uint8Array ? new Uint8Array(value) : value)));
    }
    const columns = statement.columns().map(({ name, type }) => ({ name, type }));
    return { columns, rows, changes: 0 };
  }

  /** Repeats a statement that found the database locked. Inside a transaction it is the caller's to repeat it all. */
  function runPatiently(sql: string, params: readonly WorkerValue[]): NonNullable<WorkerReply['result']> {
    const deadline = performance.now() + busyWaitMs;
    for (;;) {
      try {
        return run(sql, params);
      } catch (error) {
        const busy = /^SQLITE_(?:BUSY|LOCKED)/.test((error as { code?: string }).code ?? '');
        const again = busy && database?.inTransaction !== true && performance.now() < deadline;
        if (!again || Atomics.wait(state, 0, CALLING, 5) === 'not-equal') throw error;
      }
    }
  }

  port.on('message', (request: WorkerRequest) => {
    if (Atomics.compareExchange(state, 0, IDLE, CALLING) !== IDLE) return;
    if (request.sql === null) {
      leave();
      return;
    }
    let reply: WorkerReply;
    try {
      const result = runPatiently(request.sql, request.params);
      reply = { id: request.id, inTransaction: database?.inTransaction === true, result };
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      const inTransaction = database?.inTransaction === true;
      reply = { id: request.id, inTransaction, error: { code: code ?? '', message } };
    }
    port.postMessage(reply);
    if (Atomics.compareExchange(state, 0, CALLING, IDLE) === ENDING) leave();
  });
}
