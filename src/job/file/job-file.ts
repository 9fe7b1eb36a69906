/**
 * A job file as parsed: what its author wrote, with defaults filled in and names checked, before any database
 * was asked. docs/reference/job-file.md describes the YAML.
 */
import type { DatabaseRef, Measure, SlotRange } from '../model.ts';

export interface JobFile {
  readonly name: string;
  readonly sources: readonly JobSource[];
  readonly stores: readonly JobStore[];
  readonly databases: readonly JobGroup[];
  readonly reports: readonly JobReport[];
}

export interface JobDatabase {
  readonly name: string;
  readonly database: DatabaseRef;
}

/** A primary and its replicas. */
export interface JobGroup extends JobDatabase {
  readonly replicas: readonly DatabaseRef[];
}

/** A store shard, with the virtual slots that are its own. */
export interface JobStore extends JobGroup {
  readonly slots: SlotRange;
}

export interface JobSource extends JobDatabase {
  /** The same database under an account that only reads: the SQL of reports is checked with it. */
  readonly registration?: DatabaseRef;
  readonly tables: readonly JobTable[];
  readonly window: JobWindow;
}

export interface JobTable {
  readonly table: string;
  /** Absent: the first column of the primary key. Null: replicated, every shard gets all rows. */
  readonly shardKey?: string | null;
}

/** When a window is cut, at the next end of a transaction. */
export interface JobWindow {
  readonly lengthMs: number;
  readonly rowsMax: number;
  readonly bytesMax: number;
}

export interface JobReport {
  readonly name: string;
  readonly source: string;
  readonly database: string;
  readonly inputs: readonly JobInput[];
  readonly keys: readonly JobKey[];
  readonly measures: readonly Measure[];
  readonly sql: string;
  /** Absent: the report is of class `contribution`. */
  readonly affectedKeys?: JobAffectedKeys;
  /** No window of it is computed until it is not paused any more. */
  readonly paused: boolean;
}

/** What a report of class `affectedKeys` needs, as far as its text tells (design 6.9). */
export interface JobAffectedKeys {
  /** For each captured input the SELECT of the keys that its changed rows touch, written or found. */
  readonly touched: readonly JobTouched[];
  /** Inputs of which only rows of touched keys matter: the column that holds each key, in their order. */
  readonly narrowed: readonly { readonly alias: string; readonly columns: readonly string[] }[];
}

export interface JobTouched {
  readonly alias: string;
  readonly sql: string;
  /**
   * Set if `sql` takes columns that are only equal to the keys: right if they are of the keys' types, else
   * `otherwise` is.
   */
  readonly linked?: { readonly columns: readonly string[]; readonly otherwise: string | undefined };
}

export interface JobInput {
  readonly alias: string;
  readonly kind: 'changes' | 'state' | 'dimension';
  readonly table: string;
}

export interface JobKey {
  readonly name: string;
  readonly type: string;
}
