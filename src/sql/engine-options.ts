/** What an engine is opened with, beside its address. */
export interface EngineOptions {
  /** Connections that `use` may have open at a time. @default LIMITS.sqlPoolMax */
  readonly poolMax?: number;
  /**
   * How long a statement waits for another transaction's lock before `DB_BUSY`, in milliseconds; MySQL counts
   * whole seconds. @default LOCK_WAIT_MS
   */
  readonly lockWaitMs?: number;
}

export const LOCK_WAIT_MS = 5_000;
