/** What a collector is started with: its grant, what it reads and writes, and whom it proposes to. */
import type { Clock, TidemarkError } from '../base/index.ts';
import type { CompiledSource, CompiledTopology } from '../job/index.ts';
import type { DatabaseAddress, SqlEngine } from '../sql/index.ts';
import type { SealedWindow } from '../wire/index.ts';
import type { RowStates } from './snapshot/former-rows.ts';
import type { SchemaChange } from './schema/schema-change.ts';

export interface CollectorEngines {
  readonly source: SqlEngine;
  /** The source's address: a binlog is read on a connection of its own kind. */
  readonly sourceAddress: DatabaseAddress;
  /** The store shards by name, as in the topology. */
  readonly shards: ReadonlyMap<string, SqlEngine>;
}

export interface CollectorLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

export interface CollectorOptions {
  readonly sourceId: number;
  /** The grant under which rows are written and windows sealed. */
  readonly epoch: bigint;
  /** The term of the leader that sent the grant; for the log only. */
  readonly leaderTerm: bigint;
  /** Number and `to` of the last sealed window. 0: window 1 will be the initial snapshot. */
  readonly lastWindow: number;
  readonly position: string;
  /** How far the snapshot had come by then; empty when it was finished. */
  readonly cursor: string;
  /** While tables that were added to a captured source are copied: how many it had before. Else 0. */
  readonly formerTables: number;
  /**
   * What the snapshot takes the place of (design 6.5); with an empty cursor it has not begun.
   * Undefined: no re-snapshot is under way.
   */
  readonly rowStates: RowStates | undefined;
  readonly source: CompiledSource;
  readonly topology: CompiledTopology;
  readonly engines: CollectorEngines;
  /**
   * Proposes the seal. Resolves when it is accepted, also when this very seal had been accepted before.
   * Errors that may be retried are retried with the same window.
   */
  readonly seal: (window: SealedWindow, cursor: string) => Promise<void>;
  /** Proposes a schema version, as `seal` does a window; `source` is the whole source with it. */
  readonly addSchema: (change: SchemaChange, source: CompiledSource) => Promise<void>;
  /** Windows to be captured again before anything else (design 6.4). */
  readonly lost: readonly SealedWindow[];
  /** Proposes what became of one of them: its new rows, or the problem that keeps it lost. As `seal`. */
  readonly reseal: (window: SealedWindow, problem?: TidemarkError) => Promise<void>;
  readonly clock: Clock;
  readonly log: CollectorLog;
  readonly signal: AbortSignal;
  /** How long a window without rows stays open, in milliseconds. @default 5000 */
  readonly idleSealMs?: number;
  /** Rows of the snapshot that one chunk holds. @default LIMITS.snapshotChunkRowsMax */
  readonly chunkRows?: number;
}
