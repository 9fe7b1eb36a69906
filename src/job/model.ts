/**
 * The compiled form of a job: what a connected executor makes of a job file after it has read schemas and
 * checked the SQL. It is stored in the replicated state as JSON (opaque to it) and sent to executors as
 * definitions. Every document begins with `format`.
 */
import type { EngineKind } from '../sql/index.ts';

export const JOB_FORMAT = 2;

/** A secret by reference: resolved only where a connection is opened, by the process that opens it. */
export type SecretRef = { readonly env: string } | { readonly file: string };

/**
 * How to reach a database, without secrets. An embedded path is relative to the executor's working folder.
 */
export type DatabaseRef =
  { readonly mysql: { readonly url: SecretRef } } | { readonly embedded: { readonly file: string } };

/**
 * Types of captured columns and of declared keys and measures, as Tidemark names them; engines map them.
 * `TEXT(n)` n characters, `BYTES(n)` n bytes, `DECIMAL(p,s)`, the rest without parameters.
 */
export type ColumnType = string;

export interface ColumnSpec {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable: boolean;
  /** A captured column's type as the source says it, with its character set; absent for embedded sources. */
  readonly declared?: string;
}

export interface CapturedTable {
  /** The name in the job, in the SQL's `changes:`, and in the source. */
  readonly table: string;
  /** Grows with each accepted schema change; 1 at registration. */
  readonly schemaVersion: number;
  readonly columns: readonly ColumnSpec[];
  /** Columns whose values are not known of every row that was captured before they were made; see 0011. */
  readonly young?: readonly string[];
  readonly primaryKey: readonly string[];
  /** The column whose value decides the store shard; null: replicated, every shard gets all of its rows. */
  readonly shardKey: string | null;
}

export interface CompiledSource {
  readonly format: number;
  readonly name: string;
  readonly engine: EngineKind;
  readonly database: DatabaseRef;
  readonly tables: readonly CapturedTable[];
  readonly window: { readonly lengthMs: number; readonly rowsMax: number; readonly bytesMax: number };
}

/** Virtual slots from `first` to `last`, both included. */
export interface SlotRange {
  readonly first: number;
  readonly last: number;
}

/** A store shard: one group of a primary and its replicas. Part i of a task is computed on shard i. */
export interface CompiledShard {
  readonly name: string;
  readonly engine: EngineKind;
  /** The primary when the file was written; after a failover a replica may answer as the primary. */
  readonly database: DatabaseRef;
  readonly replicas: readonly DatabaseRef[];
  /** The virtual slots whose rows this shard holds (decision 0011). */
  readonly slots: readonly SlotRange[];
}

/** The store's topology as a job declares it. */
export interface DeclaredTopology {
  readonly format: number;
  readonly shards: readonly CompiledShard[];
}

/** The same with the version that the cluster's log gave it; every seal names the version. */
export interface CompiledTopology extends DeclaredTopology {
  readonly version: number;
}

/** A report database. */
export interface CompiledSink {
  readonly format: number;
  readonly name: string;
  readonly engine: EngineKind;
  readonly database: DatabaseRef;
  readonly replicas: readonly DatabaseRef[];
}

export type MeasureKind = 'count' | 'sum' | 'avg' | 'variance' | 'min' | 'max' | 'distinct' | 'value';

export interface Measure {
  readonly name: string;
  readonly kind: MeasureKind;
  /**
   * Type of the value (count: BIGINT). For avg and variance the type of the summed value. `value` is a cell.
   */
  readonly type: ColumnType;
  /** The earlier min, max or distinct measure whose multiset this one reads too; none: its own. */
  readonly sameAs?: number;
}

export type ReportInput =
  | {
      readonly alias: string;
      readonly kind: 'changes' | 'state';
      readonly table: string;
      /** The columns that the SQL may read: later ones are not shown to it. Absent: all. */
      readonly uses?: readonly string[];
    }
  | {
      readonly alias: string;
      readonly kind: 'dimension';
      readonly table: string;
      readonly columns: readonly ColumnSpec[];
    };

/** What a report of class `affectedKeys` needs beside its SQL (design 6.9). */
export interface AffectedKeys {
  /** For a captured input, by its alias: the SELECT of the keys that its changed rows touch. */
  readonly touched: readonly { readonly alias: string; readonly sql: string }[];
  /** Inputs of which only rows of touched keys matter: the column that holds each key, in their order. */
  readonly narrowed: readonly { readonly alias: string; readonly columns: readonly string[] }[];
}

export interface CompiledReport {
  readonly format: number;
  readonly name: string;
  readonly source: string;
  readonly database: string;
  readonly inputs: readonly ReportInput[];
  readonly keys: readonly ColumnSpec[];
  readonly measures: readonly Measure[];
  readonly sql: string;
  /** Absent: the report is of class `contribution`. */
  readonly affectedKeys?: AffectedKeys;
  /** Its groups may hold rows of several store shards, which one task gathers on the first. */
  readonly gathered?: true;
  /** Tasks per span: one for each store shard; 1, on the first, if its inputs are replicated or gathered. */
  readonly parts: number;
}

export interface CompiledJob {
  readonly format: number;
  readonly name: string;
  readonly topology: DeclaredTopology;
  readonly sources: readonly CompiledSource[];
  readonly sinks: readonly CompiledSink[];
  readonly reports: readonly CompiledReport[];
  /** Names of the reports that are paused: no part of what they are. */
  readonly paused: readonly string[];
}

export function engineOf(database: DatabaseRef): EngineKind {
  return 'mysql' in database ? 'mysql' : 'embedded';
}
