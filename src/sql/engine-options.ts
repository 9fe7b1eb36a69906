/** What an engine is opened with, beside its address. */
export interface EngineOptions {
  /** Connections that `use` may have open at a time. @default LIMITS.sqlPoolMax */
  readonly poolMax?: number;
  /**
   * How long a statement waits for another transaction's lock before `DB_BUSY`, in milliseconds; MySQL counts
   * whole seconds. @default LOCK_WAIT_MS
   */
  readonly lockWaitMs?: number;
  /**
   * How long a connection may take until it can be used, in milliseconds (MySQL). @default CONNECT_MS
   */
  readonly connectMs?: number;
  /**
   * How long a server may take to answer a statement before its connection is given up, in milliseconds
   * (MySQL; the embedded engine has no server that could fall silent). @default STATEMENT_MS
   */
  readonly statementMs?: number;
}

export const LOCK_WAIT_MS = 5_000;
export const CONNECT_MS = 5_000;
/**
 * Long enough for the SQL of a first window over a large source. TCP itself gives up on a host that lost its
 * power only after a quarter of an hour, and would hold a slot for as long.
 */
export const STATEMENT_MS = 120_000;
