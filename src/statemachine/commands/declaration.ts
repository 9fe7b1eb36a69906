/** The operation that declares a job; as the other ones it is versioned data. */
import type { ShardPlace } from './records.ts';

/** Makes a compiled job the declared state. `spec`s are documents of src/job, opaque here. */
export interface DeclareJob {
  readonly type: 'job.declare';
  readonly v: 1;
  readonly topology: { readonly spec: string; readonly shards: readonly ShardPlace[] };
  readonly sinks: readonly {
    readonly name: string;
    readonly spec: string;
    /** References of its primary, first, and its replicas: opaque texts. */
    readonly members: readonly string[];
  }[];
  readonly sources: readonly {
    readonly name: string;
    readonly spec: string;
    /**
     * From where, and then table by table what is captured: all of `spec` but when windows are cut. Opaque
     * texts.
     */
    readonly captured: readonly string[];
    /** For each of its tables the cursor at which its snapshot begins. */
    readonly begins: readonly string[];
    /** How many of its tables are captured already, and `spec` with these alone. */
    readonly keptTables: number;
    readonly kept: string;
    readonly sink: string;
  }[];
  readonly reports: readonly {
    readonly name: string;
    readonly spec: string;
    readonly specHash: string;
    readonly source: string;
    readonly sink: string;
    readonly parts: number;
    readonly readsStates: boolean;
    readonly paused: boolean;
  }[];
}
