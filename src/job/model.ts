/**
 * The compiled form of a job: what a connected executor makes of a job file after it has read schemas and
 * checked the SQL. It is stored in the replicated state as JSON (opaque to it) and sent to executors as
 * definitions. Every document begins with `format`.
 */
import type { EngineKind } from '../sql/index.ts';

export const JOB_FORMAT = 1;

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
}

export interface CapturedTable {
  /** The name in the job, in the SQL's `changes:`, and in the source. */
  readonly table: string;
  /** Grows with each accepted schema change; 1 at registration. */
  readonly schemaVersion: number;
  readonly columns: readonly ColumnSpec[];
  readonly primaryKey: readonly string[];
  /** The column whose value decides the store shard; absent: the first primary key column. */
  readonly shardKey: string;
}

export interface CompiledSource {
  readonly format: number;
  readonly name: string;
  readonly engine: EngineKind;
  readonly database: DatabaseRef;
  readonly tables: readonly CapturedTable[];
  readonly window: { readonly lengthMs: number; readonly rowsMax: number; readonly bytesMax: number };
}

/** The store's topology. One shard until the sharded-store issue; its version is named by every seal. */
export interface CompiledTopology {
  readonly format: number;
  readonly version: number;
  readonly shards: readonly {
    readonly name: string;
    readonly engine: EngineKind;
    readonly database: DatabaseRef;
  }[];
}

/** A report database. */
export interface CompiledSink {
  readonly format: number;
  readonly name: string;
  readonly engine: EngineKind;
  readonly database: DatabaseRef;
}

export type MeasureKind = 'count' | 'sum' | 'avg' | 'min' | 'max';

export interface Measure {
  readonly name: string;
  readonly kind: MeasureKind;
  /** Type of the value (count: BIGINT). For avg the type of the summed value. */
  readonly type: ColumnType;
}

export type ReportInput =
  | { readonly alias: string; readonly kind: 'changes'; readonly table: string }
  | {
      readonly alias: string;
      readonly kind: 'dimension';
      readonly table: string;
      readonly columns: readonly ColumnSpec[];
    };

export interface CompiledReport {
  readonly format: number;
  readonly name: string;
  readonly source: string;
  readonly database: string;
  readonly inputs: readonly ReportInput[];
  readonly keys: readonly ColumnSpec[];
  readonly measures: readonly Measure[];
  readonly sql: string;
}

export interface CompiledJob {
  readonly format: number;
  readonly name: string;
  readonly topology: CompiledTopology;
  readonly sources: readonly CompiledSource[];
  readonly sinks: readonly CompiledSink[];
  readonly reports: readonly CompiledReport[];
}

export function engineOf(database: DatabaseRef): EngineKind {
  return 'mysql' in database ? 'mysql' : 'embedded';
}
