/**
 * One interface for every database that Tidemark opens. `mysql2` (MySQL, MariaDB) and `libsql` (the
 * embedded engine) stand behind it and pass one contract suite (test/sql/engine-contract.ts).
 *
 * Values are exact: every integer is a bigint, DECIMAL and all date and time types are strings, text is
 * a string, binary is a Uint8Array, floats are numbers. Nothing is rounded on its way through.
 */

export type EngineKind = 'mysql' | 'embedded';

/** A value that came out of a database. */
export type SqlValue = null | bigint | number | string | Uint8Array;
/** A value bound to a placeholder `?`. Numbers must be safe integers or finite floats. */
export type SqlParam = SqlValue | boolean;

export interface ResultSet {
  readonly columns: readonly ResultColumn[];
  /** Rows as arrays, in column order. */
  readonly rows: readonly (readonly SqlValue[])[];
  /** Rows changed by the statement (0 for a SELECT). */
  readonly changes: number;
}

export interface ResultColumn {
  readonly name: string;
  /** What the database says of the column's type; `unknown` where it does not (embedded expressions). */
  readonly type: 'integer' | 'decimal' | 'float' | 'text' | 'binary' | 'temporal' | 'json' | 'unknown';
  /** Whether it is an integer of 64 bits without a sign, whose values may exceed a BIGINT. */
  readonly unsigned64?: boolean;
}

/** Where to connect, after secrets were resolved. Never logged, never stored. */
export type DatabaseAddress =
  { readonly kind: 'mysql'; readonly url: string } | { readonly kind: 'embedded'; readonly file: string };

export interface ConnectOptions {
  /** Shown in the server's process list where the engine has one: `tidemark/<purpose>`. */
  readonly purpose: string;
  readonly readOnly?: boolean;
  /** Seconds of silence after which the server drops the connection and rolls back (MySQL; default 60). */
  readonly idleSeconds?: number;
  /** Aborting destroys the connection and ends its statement at the server. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which the server ends a SELECT with `SQL_TOO_SLOW` (MySQL; default never). */
  readonly selectMs?: number;
}

export interface QueryOptions {
  /** How long the server may take to answer, in milliseconds (MySQL; default: as the engine was opened). */
  readonly answerMs?: number;
}

/** One statement of several that go to the server together. */
export interface Statement {
  readonly sql: string;
  readonly params?: readonly SqlParam[];
}

/** Takes rows of a result; false means that no more are wanted. */
export type TakePiece = (piece: ResultSet) => Promise<boolean>;

export interface StreamOptions {
  /** Rows of a piece. */
  readonly pieceRows: number;
  /**
   * Milliseconds after which the server ends the SELECT, the time included in which its rows are taken
   * (MariaDB; default: as the connection was opened).
   */
  readonly selectMs?: number;
}

/**
 * One connection; not for concurrent use (a second call waits for the first).
 *
 * Errors are {@link TidemarkError}s: `DB_UNREACHABLE` (no effect is known to have happened outside a
 * transaction; inside one it is rolled back), `DB_BUSY` (deadlock or lock wait; the transaction is rolled
 * back), `DB_OUTCOME_UNKNOWN` (only from `commit`, or from a write outside a transaction), `DB_READ_ONLY`
 * (the server takes no writes, any more or yet), `SQL_TOO_SLOW`, `SQL_INVALID` (parse or name errors),
 * `SQL_WRITES` (in a
 * transaction that only reads), `VALUE_RANGE`, `DIVISION_BY_ZERO`, `TABLE_MISSING`, `DB_ACCESS`, else
 * `DB_FAILED`.
 * After any but a statement's own error the connection is closed.
 */
export interface SqlConnection {
  /** The server's id of this connection where it has one; what {@link SqlEngine.kill} takes. */
  readonly id: string;
  query(sql: string, params?: readonly SqlParam[], options?: QueryOptions): Promise<ResultSet>;
  /**
   * Runs statements one after the other, in one round trip where the engine has that; the first that fails
   * ends it. Inside a transaction only, since nobody could tell which of them took effect.
   */
  batch(statements: readonly Statement[]): Promise<ResultSet[]>;
  /**
   * Runs a statement inside a transaction whose result nobody needs. MySQL may hear of it with the next
   * statement, COMMIT at the latest, and its error is told there.
   */
  later(sql: string, params?: readonly SqlParam[]): Promise<void>;
  /**
   * Runs a SELECT and hands its rows to `take` piece by piece, the last one shorter than the others and maybe
   * empty. Nothing more is read until `take` has resolved; with false, or an error, the rest is left and the
   * connection is dropped. Meanwhile the connection takes no other statement.
   */
  stream(sql: string, params: readonly SqlParam[], options: StreamOptions, take: TakePiece): Promise<void>;
  /** Inserts many rows in statements of bounded size. `columns` are plain names, quoted by the engine. */
  insertRows(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly SqlParam[])[],
  ): Promise<void>;
  /**
   * `write`: READ COMMITTED, or BEGIN IMMEDIATE; MySQL may hear of it with the first statement. `snapshot`: a
   * consistent read-only view, as of now. By `marker` the connection can be found at a MySQL server until the
   * transaction ends: it is the name of a lock that the connection holds.
   */
  begin(mode: 'write' | 'snapshot', marker?: string): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  /** Ends it in an orderly way. */
  close(): Promise<void>;
  /** Drops it at once, whatever it is doing. */
  destroy(): void;
}

export interface SqlEngine {
  readonly kind: EngineKind;
  readonly dialect: Dialect;
  connect(options: ConnectOptions): Promise<SqlConnection>;
  /** Runs `work` on a pooled connection. The pool is bounded and drops connections that failed. */
  use<T>(purpose: string, work: (connection: SqlConnection) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /**
   * Runs `work`, which only reads and may be heavy, on connections of their own whose statements the server
   * itself ends after a while (`SQL_TOO_SLOW`). Of several servers each is tried until one has what `work`
   * looks for (router/, design 6.4, 6.7), so `work` may run more than once.
   */
  read<T>(purpose: string, work: (connection: SqlConnection) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** The servers behind it, one by one: itself, or the primary and replicas that it chooses from. */
  readonly endpoints: readonly SqlEngine[];
  /** Ends another connection's statement and the connection; resolves when the process list shows neither. */
  kill(connectionId: string): Promise<void>;
  close(): Promise<void>;
}

/** Expressions over the columns that a variance is made of, and the declared type of its values. */
export interface VarianceParts {
  readonly sum: string;
  readonly squares: string;
  readonly count: string;
  readonly type: string;
}

/** A JSON text as a table. */
export interface JsonRows {
  /** What follows FROM or JOIN. */
  readonly table: string;
  /** Expressions of the texts of a row, in their order. */
  readonly texts: readonly string[];
}

/** What differs between the engines' SQL. Everything else is written in what both understand. */
export interface Dialect {
  readonly kind: EngineKind;
  /** Quotes an identifier. */
  id(name: string): string;
  /** ` FOR UPDATE`, or nothing where a write transaction is exclusive anyway. */
  readonly forUpdate: string;
  /**
   * INSERT of a SELECT or of VALUES that adds to existing rows. `source` is the text from SELECT or VALUES
   * on.
   * Each `set` column becomes `existing + new` (`add`) or `new` (`replace`).
   */
  upsert(input: {
    readonly table: string;
    readonly columns: readonly string[];
    readonly source: string;
    readonly key: readonly string[];
    readonly add?: readonly string[];
    readonly replace?: readonly string[];
  }): string;
  /**
   * As {@link upsert} with `replace`, but an existing row stays as it is if its `by` is above the new one's.
   * `by` is among the columns that are replaced.
   */
  upsertLater(input: {
    readonly table: string;
    readonly columns: readonly string[];
    readonly source: string;
    readonly key: readonly string[];
    readonly replace: readonly string[];
    readonly by: string;
  }): string;
  /** INSERT that leaves an existing row as it is. */
  insertIgnore(input: {
    readonly table: string;
    readonly columns: readonly string[];
    readonly source: string;
    readonly key: readonly string[];
  }): string;
  /** DELETE of the first `max` rows of a quoted table that a condition picks, in the order of their key. */
  deleteSome(input: {
    readonly table: string;
    readonly where: string;
    readonly key: string;
    readonly max: number;
  }): string;
  /**
   * Reads `body`, a JSON array of arrays of texts (ASCII on MySQL), as rows. `lengths` bounds the texts of
   * each column: a longer one may be cut there. They compare byte by byte; one that is missing is an error.
   */
  jsonRows(body: string, lengths: readonly number[]): JsonRows;
  /**
   * Turns such a text into a key or multiset value as `storedType` keeps it: digits and moments are written
   * as they are, bytes in hexadecimal.
   */
  fromText(text: string, type: string): string;
  /** How many elements a JSON array has; none if the text is no JSON. */
  jsonLength(expression: string): string;
  /** Turns the text of a number into a number to add up, with so many digits behind the point. */
  exactNumber(text: string, scale: number): string;
  /**
   * The DDL type of a column of a declared type (column-types.ts). Text is compared by code points.
   * @throws TidemarkError `COLUMN_TYPE`, `DECIMAL_EMBEDDED`.
   */
  columnType(type: string): string;
  /**
   * The DDL type of a key or multiset value in our own tables: as `columnType`, but text is kept as bytes.
   */
  storedType(type: string): string;
  /** Casts an expression to what `storedType` keeps; see {@link fromStored}. */
  toStored(expression: string, type: string): string;
  /** Turns a stored key or multiset value back into what people read. */
  fromStored(expression: string, type: string): string;
  /** The DDL type that holds sums of values of a declared type exactly. */
  sumType(type: string): string;
  /** Turns an expression into bytes, for grouping and storing text keys exactly. */
  textToBytes(expression: string): string;
  /** The reverse, for views that people read. */
  bytesToText(expression: string): string;
  /** The square of a number, exact: MySQL would not hold that of a large integer in an integer. */
  square(expression: string, type: string): string;
  /** The DDL type that holds sums of squares of values of a declared type exactly. */
  squaresType(type: string): string;
  /** Casts a sum of squares to its `squaresType`, as {@link castSum} does. */
  castSquares(expression: string, type: string): string;
  /**
   * The population variance from the exact sum, sum of squares and number of values, as a real number: what
   * VAR_POP of the same values is.
   */
  variance(exact: VarianceParts): string;
  /** Casts a sum to its `sumType`. Embedded: as it is, for a cast would hide an overflow or a real number. */
  castSum(expression: string, type: string): string;
  /**
   * An expression that names the server which answers: another one after a failover, the same one after its
   * restart.
   */
  readonly serverIdentity: string;
  /**
   * Session settings that are pinned for report SQL (time zone, sql_mode, character set), run once per
   * connection.
   */
  readonly sessionSettings: readonly string[];
}
