/**
 * What is replicated: one record type per table. Records are plain, immutable, encodable data; a change
 * writes a new record. Tokens are decimal strings here (the codec has no 64-bit integers), see
 * `parseToken`. Times are log time in milliseconds unless a name says otherwise.
 */

/** Grows whenever the meaning of stored records changes. */
export const STATE_FORMAT = 3;

/** One row, key '' : counters and clocks of the whole state. */
export interface ClusterRecord {
  readonly featureLevel: number;
  readonly logTimeMs: number;
  /** The wall clock of the leader that stamped the last entry; display only. */
  readonly wallMs: number;
  /** The low half of the next token is this plus one. */
  readonly grants: number;
  /** How many key-value writes there were; absent in states that had none. */
  readonly revision?: number;
  /**
   * Ids of the clusters from whose state this one was restored, oldest first: their report databases are its
   * own.
   */
  readonly formerIds?: readonly string[];
  /** The next id of each family is this plus one; ids are never reused. */
  readonly ids: {
    readonly session: number;
    readonly executor: number;
    readonly source: number;
    readonly sink: number;
    readonly report: number;
  };
}

/** A client's or an executor's registered presence; what makes its requests exactly-once. */
export interface SessionRecord {
  readonly id: number;
  readonly name: string;
  readonly openedMs: number;
  readonly lastUsedMs: number;
  /** Answers of the latest requests, oldest first; a retry gets its first answer. Bounded. */
  readonly replies: readonly { readonly sequence: number; readonly reply: Uint8Array }[];
  /** Highest sequence whose answer has been dropped; at or below it a request is refused, never run again. */
  readonly droppedSequence: number;
}

/** Where a key of a client stands, without its value. */
export interface KeyValueStanding {
  /** The number of the write that made this value; it never repeats, not even for a key made anew. */
  readonly revision: number;
  /** Writes of this key since it was made. */
  readonly version: number;
}

/** A key of a client. Its row's key is `namespace/key`. Rows of this table are packed: this is a copy. */
export interface KeyValueRecord extends KeyValueStanding {
  readonly value: Uint8Array;
}

export interface ExecutorRecord {
  readonly id: number;
  readonly sessionId: number;
  readonly name: string;
  readonly incarnation: string;
  readonly slots: number;
  readonly version: string;
  readonly engines: readonly string[];
  readonly registeredMs: number;
}

/** A store shard, as far as the log must know it: what may not change once windows are sealed. */
export interface ShardPlace {
  readonly name: string;
  /** Which virtual slots it holds: an opaque text that is equal for equal slots. */
  readonly slots: string;
  /** References of its primary, first, and its replicas: opaque texts. */
  readonly members: readonly string[];
}

export interface TopologyRecord {
  /** Grows with each accepted change; every seal names it. */
  readonly version: number;
  /** The version since which names and slots are the same: seals from then on agree on where rows lie. */
  readonly placedVersion: number;
  readonly spec: string;
  readonly shards: readonly ShardPlace[];
}

export interface SinkRecord {
  readonly id: number;
  readonly name: string;
  readonly spec: string;
  /** References of its primary, first, and its replicas: opaque texts. */
  readonly members: readonly string[];
  /** The sink epoch (design 6.12), a token, fresh for each try; null before the first was granted. */
  readonly epoch: string | null;
  /** Who sets it; 0 before the first grant. */
  readonly executorId: number;
  /**
   * Whether it is set and what was found there is applied. Before that nothing is granted for this database.
   */
  readonly reconciled: boolean;
  /** A coded problem that kept the last try from its end; '' if none. */
  readonly problem: string;
  /** No fresh epoch before this log time (after a failure). */
  readonly retryAtMs: number;
}

export interface SourceRecord {
  readonly id: number;
  readonly name: string;
  readonly spec: string;
  /**
   * What of `spec` stays once windows are sealed: from where, and then table by table what is captured.
   * Opaque texts that are equal for equal parts; tables may come after the last one.
   */
  readonly captured: readonly string[];
  readonly sinkId: number;
  /** The grant under which tables and dimension copies are made; null before the first. */
  readonly prepare: PrepareGrant | null;
  /** Tables that are declared and not captured yet: they wait until their own are made in the store. */
  readonly addition: TableAddition | null;
  /** The collector's current grant. */
  readonly collector: {
    readonly epoch: string;
    readonly executorId: number;
    readonly grantedMs: number;
  } | null;
  /** Number and `to` of the last sealed window; 0 and '' before the snapshot is sealed. */
  readonly lastWindow: number;
  readonly position: string;
  /** How far its snapshot has come by then (table, last key copied); '' before it and when it is finished. */
  readonly cursor: string;
  /** While tables that were added are copied: how many it had before; else 0. */
  readonly formerTables: number;
  /** Schema versions that later ones of their table have replaced, oldest first; `spec` has the newest. */
  readonly schemas: readonly {
    readonly table: string;
    readonly version: number;
    /** The last window that may name it. */
    readonly lastWindow: number;
    readonly spec: string;
  }[];
  /** Up to where every window is MERGED for every report that reads it: the least of theirs. */
  readonly mergedWindow: number;
  /** Row states, by store shard; null if no report of the source has ever needed them. */
  readonly states: readonly ShardStates[] | null;
  /** What this cluster was restored from, oldest first: row states of then may be in the store. */
  readonly formerChains: readonly FormerChain[];
  /** Windows up to this one may be dropped, here and in the store (design 6.10). It only grows. */
  readonly horizon: number;
  /** Up to where the store has dropped them, and the grant to go on. */
  readonly droppedWindow: number;
  readonly drop: HousekeepingGrant | null;
  readonly dropRetryAtMs: number;
  /** Sealed windows whose rows a store shard's primary does not show any more; bounded. */
  readonly lost: readonly LostWindow[];
  /**
   * Why its change log shows nothing behind `position` any more: no collector is granted until a re-snapshot
   * is asked for. Null while nothing is known to be gone.
   */
  readonly lostPosition: { readonly code: string; readonly message: string } | null;
  /** Its tables are compared with the row states (design 6.5), until a seal says that all are. */
  readonly resnapshot: boolean;
  /**
   * The row states had holes when that began: nothing is computed of the source until all is read again, and
   * its reports begin anew behind it.
   */
  readonly holed: boolean;
  /** A coded problem that keeps the source from going on by itself; '' if none. */
  readonly problem: string;
  /** No new prepare or collector grant before this log time (after a failure). */
  readonly retryAtMs: number;
}

export interface PrepareGrant {
  readonly token: string;
  readonly executorId: number;
  readonly done: boolean;
  /** Tokens of the grants that it replaces, newest first; bounded. */
  readonly superseded: readonly string[];
}

/** What a source becomes when tables that were added to it are prepared; until then it goes on as it is. */
export interface TableAddition {
  /** As in {@link SourceRecord}, with the added tables. */
  readonly spec: string;
  readonly captured: readonly string[];
  /** Where the copying of the first of them begins. */
  readonly cursor: string;
  readonly prepare: PrepareGrant | null;
  /** Grants in a row that failed, whose the last one was (0: none was), and why. */
  readonly attempts: number;
  readonly failedExecutorId: number;
  readonly problem: string;
  /** No new grant before this log time (after a failure). */
  readonly retryAtMs: number;
}

/**
 * The windows of a source as they were sealed before a restore. Whoever put them into the row states did so
 * under a token below `below`, and what lies behind `lastWindow` is of windows that nobody knows now.
 */
export interface FormerChain {
  readonly below: string;
  readonly lastWindow: number;
  /** Row states of then are taken back although they have holes: the source is read again. */
  readonly holed: boolean;
}

/** A window to be captured again, or, with a problem, one that cannot be. */
export interface LostWindow {
  readonly window: number;
  readonly problem: string;
}

/** How far the row states of one source are on one store shard, and who takes them further. */
export interface ShardStates {
  readonly shard: string;
  /** Up to here every window is in, as far as an executor has said. */
  readonly window: number;
  /** At most one at a time. */
  readonly grant: StatesGrant | null;
  /** Tokens of grants before it that ended without success, newest first; bounded. */
  readonly superseded: readonly string[];
  /** Grants in a row that ended without a step forward, and whose the last one was (0: none was). */
  readonly attempts: number;
  readonly failedExecutorId: number;
  /** No new grant before this log time (after a failure). */
  readonly retryAtMs: number;
  /** Why the last grant failed; '' if it did not. */
  readonly problem: string;
}

export interface StatesGrant {
  readonly token: string;
  readonly firstWindow: number;
  readonly lastWindow: number;
  readonly executorId: number;
  readonly grantedMs: number;
}

export interface ReportRecord {
  readonly id: number;
  readonly generation: number;
  readonly name: string;
  readonly spec: string;
  readonly specHash: string;
  readonly sourceId: number;
  readonly sinkId: number;
  /** The first span is 1 to this window, computed from the row states as of it; 0: it reads every window. */
  readonly baseWindow: number;
  readonly parts: number;
  /** The first window that no span covers yet. */
  readonly nextWindow: number;
  /** Up to where every span is MERGED, and up to where every span is FINAL. */
  readonly mergedWindow: number;
  readonly finalWindow: number;
  /** The fold mark of the report database, with the epoch that its window was sealed under. */
  readonly folded: { readonly window: number; readonly seal: string };
  readonly fold: HousekeepingGrant | null;
  readonly foldRetryAtMs: number;
  /** Spans up to this window have no records any more: where the fold mark was one fold ago. */
  readonly droppedWindow: number;
  readonly holes: number;
  /** Its tasks read row states: a span waits until its store shards have them. */
  readonly readsStates: boolean;
  /** How far it has come on its way into its database, and out of it. */
  readonly phase: ReportPhase;
  /** The grant of the step that leads to its next phase. */
  readonly change: ReportGrant | null;
  readonly changeRetryAtMs: number;
  /** Why the last step failed; '' if it did not. */
  readonly changeProblem: string;
  /** The grant that its dimension copies are named by (design 6.2); '' before its tables are made. */
  readonly prepared: string;
  /** Those copies, as they were when they were made. */
  readonly copies: readonly DimensionCopyRecord[];
  /** A copy was not found: nothing is computed before a grant has looked after them. */
  readonly copiesLost: boolean;
  /** The id of the generation that is shown until this one has caught up; 0 if there is none. */
  readonly replaces: number;
  /** No span is opened while it is. */
  readonly paused: boolean;
  /** The first window that it does not read, and the coded reason; null while it goes on. */
  readonly stopped: { readonly window: number; readonly problem: string } | null;
}

/** An immutable copy of a dimension. What it holds is part of the generations that read it (design 6.2). */
export interface DimensionCopyRecord {
  readonly table: string;
  readonly rows: number;
  /** 16 hex digits: the order-free sum of row hashes. */
  readonly checksum: string;
}

/**
 * `new` has no tables yet, or any more, `building` has some that nobody is shown, `live` is what its view
 * shows, `retired` is about to be dropped. Reports declared before the first window of their source are
 * `live` at once: they are prepared with it.
 */
export type ReportPhase = 'new' | 'building' | 'live' | 'retired';

/** A grant of making, showing or dropping a report generation: its phase says which. */
export interface ReportGrant {
  readonly token: string;
  readonly executorId: number;
  readonly grantedMs: number;
  readonly sinkEpoch: string;
  /** Tokens of the grants that it replaces, newest first; bounded. */
  readonly superseded: readonly string[];
}

/** A grant of folding a report, or of dropping what the store holds of a source, up to a window. */
export interface HousekeepingGrant {
  readonly token: string;
  readonly executorId: number;
  readonly window: number;
  readonly grantedMs: number;
  /** The sink epoch that a fold was granted under; '' when history is dropped. */
  readonly sinkEpoch: string;
  /** Tokens of the grants that it replaces, newest first; bounded. */
  readonly superseded: readonly string[];
}

/**
 * One or more adjacent windows that one report takes as one step, decided once and for all (design 6.7). Its
 * tasks, one per part, are keyed by its first window.
 */
export interface SpanRecord {
  readonly reportId: number;
  readonly generation: number;
  readonly sourceId: number;
  readonly firstWindow: number;
  readonly lastWindow: number;
  readonly parts: number;
  /** Parts that were granted at least once; the rest are pending. */
  readonly granted: number;
  /** Parts that are not finished, pending ones included; 0 makes the span MERGED. */
  readonly open: number;
  /** Parts that are DEAD; without any, a MERGED span is FINAL. */
  readonly dead: number;
}

export type WindowState = 'SEALED' | 'MERGED' | 'FINAL';

/** A window as it was sealed. What its reports made of it is in their spans. */
export interface WindowRecord {
  readonly sourceId: number;
  readonly window: number;
  readonly epoch: string;
  readonly from: string;
  readonly to: string;
  /** Sealed before the snapshot was finished: no log shows all of its rows again. */
  readonly copying: boolean;
  readonly day: string;
  readonly coversMs: number;
  readonly topologyVersion: number;
  readonly schemaVersions: readonly { readonly table: string; readonly version: number }[];
  readonly shards: readonly { readonly shard: string; readonly rows: number; readonly checksum: string }[];
  readonly sealedMs: number;
  /** When the source's mergedWindow first reached it; 0 before. */
  readonly mergedMs: number;
}

export type TaskState = 'ASSIGNED' | 'PARKED' | 'DONE' | 'DEAD' | 'SKIPPED' | 'CANCELLED';
/** What the current version is for: merging, or removing the contribution on the way to a final state. */
export type TaskPurpose = 'merge' | 'DEAD' | 'SKIPPED' | 'CANCELLED';

/** A task exists from its first grant on; before that it is pending, which is derived. */
export interface TaskRecord {
  /** reportId/generation/firstWindow/part */
  readonly key: string;
  readonly reportId: number;
  readonly generation: number;
  readonly sourceId: number;
  readonly sinkId: number;
  readonly firstWindow: number;
  readonly lastWindow: number;
  readonly part: number;
  readonly version: number;
  readonly token: string;
  /**
   * The latest tokens of earlier versions, newest first; bounded. Their database connections are killed
   * first.
   */
  readonly superseded: readonly string[];
  readonly sinkEpoch: string;
  readonly executorId: number;
  readonly purpose: TaskPurpose;
  readonly state: TaskState;
  readonly assignedMs: number;
  /** When it was first granted, or became due again: the retention counts from here. */
  readonly heldSinceMs: number;
  /** Grants that ended without success; decides between another executor, parking and giving up. */
  readonly attempts: number;
  readonly wakeAtMs: number;
  /** The ledger holds a hole for it; one that is tried again keeps it until it is DONE. */
  readonly hole: boolean;
  readonly reason: string;
}

export const taskKey = (task: {
  reportId: number;
  generation: number;
  firstWindow: number;
  part: number;
}): string => `${task.reportId}/${task.generation}/${task.firstWindow}/${task.part}`;
