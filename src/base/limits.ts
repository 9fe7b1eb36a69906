/**
 * Every bound there is, in one place, related to each other by assertions when the module loads.
 * A queue, a batch, a message, a result or a retry loop without a bound here is a defect.
 */
import { assert } from './assert.ts';

export const LIMITS = {
  // Wire.
  grpcMessageBytesMax: 8 * 1024 * 1024,
  grpcStreamsPerConnectionMax: 256,
  peerFrameBytesMax: 5 * 1024 * 1024,
  clientOutstandingMax: 1_024,

  // Raft.
  raftTickMs: 50,
  raftHeartbeatTicks: 2,
  raftElectionTicks: 14,
  /** Room for one declared job; an append takes such an entry alone. */
  raftEntryBytesMax: 4 * 1024 * 1024,
  raftAppendEntriesMax: 4_096,
  /** Of several entries together. */
  raftAppendBytesMax: 1024 * 1024,
  /** What may be under way to one follower, unanswered. */
  raftInflightAppendsMax: 64,
  raftInflightBytesMax: 4 * 1024 * 1024,
  raftUncommittedBytesMax: 64 * 1024 * 1024,
  raftProposalsQueuedMax: 16_384,
  raftReadsQueuedMax: 16_384,
  /** What a compacted log keeps for slow followers, and what it forgets together. */
  raftKeepEntries: 50_000,
  raftKeepBytes: 512 * 1024 * 1024,
  raftCompactEntries: 25_000,
  /** A follower that was sent so many without catching up in between is an alarm. */
  raftSnapshotsInARowAlarm: 3,
  raftCompactBytes: 128 * 1024 * 1024,
  /** What a log holds at most for the sake of followers that are behind and still heard. */
  raftHoldEntries: 2_000_000,
  raftHoldBytes: 4 * 1024 * 1024 * 1024,
  /** A last resort, if the log cannot be compacted: then `LOG_FULL`. */
  raftLogEntriesMax: 4_000_000,
  raftLogBytesMax: 8 * 1024 * 1024 * 1024,
  /** How much of the log's end is kept in memory; older entries are read from disk. */
  raftTailBytesMax: 32 * 1024 * 1024,
  /** One group handed to the state machine. */
  raftApplyEntriesMax: 1_024,
  raftApplyBytesMax: 4 * 1024 * 1024,
  /** After so long a turn of the event loop is left to the rest; a group may go beyond it. */
  raftApplyTurnMs: 5,
  /** Frames that wait for one peer; above it the oldest are dropped. */
  peerQueueFramesMax: 4_096,
  peerQueueBytesMax: 16 * 1024 * 1024,
  peerRedialMinMs: 50,
  peerRedialMaxMs: 1_000,
  votersMax: 7,
  /** Voters and learners; one may replace another at any number of voters. */
  membersMax: 9,
  addressLengthMax: 300,

  // Replicated state.
  opsPerEntryMax: 512,
  /** Of a job as it is compiled and declared; other operations are far smaller. */
  opBytesMax: 3.5 * 1024 * 1024,
  sessionsMax: 10_000,
  sessionRepliesMax: 64,
  sessionReplyBytesMax: 64 * 1024,
  executorsMax: 1_000,
  sourcesMax: 64,
  reportsMax: 2_000,
  tablesPerSourceMax: 256,
  columnsPerTableMax: 1_000,
  windowsLostMax: 1_000,
  windowsUnmergedMax: 100_000,
  windowsKeptMax: 1_000,
  /** Windows behind the row states that are kept for a shard whose row states go back. */
  statesReserveWindows: 200,
  tasksKeptMax: 200_000,
  /** A span has so many windows at most, and gets no further one once it has so many change rows. */
  spanWindowsMax: 32,
  spanRowsMax: 100_000,
  /** Rows that one statement drops from the store. */
  rowsDroppedAtOnce: 1_000,
  tasksWokenPerOperationMax: 1_000,
  tasksOpenMax: 20_000,
  /** Entries between two states whose digests members compare, and how many of these are remembered. */
  digestCheckpointEntries: 1_024,
  digestCheckpointsKept: 16,
  digestRoundMs: 2_000,
  /** Between two scrubs of everything, and between two steps of some milliseconds of one. */
  scrubRoundMs: 600_000,
  scrubPauseMs: 20,
  applyGroupBytesMax: 128 * 1024,
  snapshotChunkBytesMax: 256 * 1024,
  /** A chunk in a backup: one row may be larger than chunks are made. */
  snapshotRecordBytesMax: 8 * 1024 * 1024,
  /** A backup that nobody reads any more is given up. */
  snapshotStallMs: 30_000,
  /**
   * What a leader sends of snapshots, to all members together, and a member of a backup: a fifth of what one
   * core can read, check and send, so that writes go on.
   */
  snapshotBytesPerSecond: 16 * 1024 * 1024,
  /** Pieces of a snapshot that came faster than they are written down; the next is not asked for. */
  snapshotPiecesWaitingMax: 8,
  /** Characters of an error's text that an executor tells; more is cut off. */
  errorTextMax: 2_000,
  /** 150 reports of 300 lines, with room to spare. */
  jobFileBytesMax: 2 * 1024 * 1024,
  /** A leader reads no larger file itself, for it sends no heartbeats meanwhile. */
  jobFileEarlyBytesMax: 256 * 1024,

  // Key-value commands.
  /** Namespace and key together. */
  keyBytesMax: 1_024,
  keyValueBytesMax: 64 * 1024,
  keyValueKeysMax: 2_000_000,
  /** Keys and values of the whole table, which is held in memory: a KiB for each key at most of them. */
  keyValueTableBytesMax: 2 * 1024 * 1024 * 1024,
  /** What a client gathers in one turn and numbers as one request. */
  keyValueWritesPerBatchMax: 512,
  keyValueBatchBytesMax: 256 * 1024,
  /** Requests of one client that are not answered yet; writes and reads each. */
  keyValueBatchesOutstandingMax: 6,
  keyValueQueuedMax: 16_384,
  /** What one stream may have unanswered on the server; above it the stream ends. */
  keyValueRequestsPerStreamMax: 64,
  keyValueReadBytesMax: 1024 * 1024,
  /** A stream that answers nothing for this long is given up for another coordinator. */
  keyValueSilenceMs: 1_000,
  nameLengthMax: 64,

  // The store.
  storeSlots: 1_024,
  storeShardsMax: 64,
  replicasMax: 8,

  // Executors.
  slotsPerExecutorMax: 64,
  tasksPerDispatchMax: 64,
  /** Differences that an audit tells of one database. */
  auditDifferencesMax: 1_000,
  /** An executor that says nothing of an audit for so long is given up. */
  auditSilenceMs: 60_000,
  /** Row states that one executor advances at once, beside its tasks; and what one grant of them holds. */
  statesSlotsPerExecutor: 4,
  statesWindowsPerGrantMax: 64,
  /** A single window may hold more. */
  statesRowsPerGrantMax: 100_000,
  /** Rows of one task's contribution. A million was measured, on MariaDB. */
  contributionRowsMax: 5_000_000,
  /** Up to so many are held in memory and merged by one transaction; more are staged in pieces before. */
  contributionRowsHeldMax: 20_000,
  /** Those of a report of class `affectedKeys`, which are not staged. */
  cellRowsMax: 200_000,
  contributionPieceRows: 5_000,
  /** Rows of all store shards that one task brings together, and of a piece in which they come. */
  gatheredRowsMax: 2_000_000,
  gatherPieceRows: 2_000,
  /** Rows and bytes of a pack of a contribution; the last row may go beyond. */
  packRowsMax: 2_500,
  packBytesMax: 256 * 1_024,
  /** Packs that one transaction deletes, and rows in those that folding looks at before. */
  packsDeletedAtOnce: 64,
  packedRowsSweptAtOnce: 10_000,
  /** The time that a statement over a large contribution has, and a millisecond more for each row. */
  largeStatementMs: 120_000,
  mergeRetriesMax: 8,
  computeRetriesMax: 3,
  dimensionRowsMax: 1_000_000,
  /** Reports of outcomes that are kept until a leader surely has them. */
  outcomesKeptMax: 4_096,
  outcomesKeptMs: 60_000,
  sealsWaitingMax: 1_024,
  sqlRowsPerFetchMax: 1_000_000,
  sqlInsertRowsMax: 500,
  sqlPoolMax: 16,
  sqlPoolWaitingMax: 1_024,

  // Collector.
  windowRowsMax: 50_000,
  windowBytesMax: 32 * 1024 * 1024,
  /** Change rows that a collector sends to a store shard at once. */
  storeWriteRowsMax: 2_000,
  /** Change rows in one transaction there, while more wait than are written. */
  storeCommitRowsMax: 10_000,
  /** Bytes of such rows, unless one row alone has more. */
  storeWriteBytesMax: 4 * 1024 * 1024,
  /** Change rows that may wait for the store before the collector stops reading the source. */
  storeRowsWaitingMax: 20_000,
  /** Bytes of such rows. */
  storeBytesWaitingMax: 16 * 1024 * 1024,
  /** Rows of a snapshot's chunk, all with one window, unless a table's key cannot be cut. */
  snapshotChunkRowsMax: 20_000,
  /** Rows that one read of a source's snapshot or change log returns. */
  sourceReadRowsMax: 2_000,
  /** Events that a reader may hold before it stops reading the source's log. */
  sourceEventsWaitingMax: 20_000,
  /** Bytes of such events in the log. */
  sourceBytesWaitingMax: 8 * 1024 * 1024,

  /** Combinations of rows that EXPLAIN may expect of a report: a server takes an hour for as many. */
  reportCombinationsMax: 100_000_000_000,
  /** Milliseconds that one SELECT of a validation may take at the source. */
  validateSelectMs: 4_000,

  // Liveness, milliseconds (design section 7).
  executorHeartbeatMs: 500,
  executorSuspectMs: 1_500,
  executorSessionMs: 3_000,
  taskDeadlineMs: 10_000,
  clientDeadlineMs: 10_000,
  /** A new member gets the whole state within it. */
  membershipDeadlineMs: 300_000,
} as const;

assert(LIMITS.raftHeartbeatTicks * 3 < LIMITS.raftElectionTicks, 'a follower survives three lost heartbeats');
/** An append has at least one entry, whatever that one has. */
const LARGEST_APPEND_BYTES = Math.max(LIMITS.raftAppendBytesMax, LIMITS.raftEntryBytesMax);
assert(LARGEST_APPEND_BYTES + 128 * 1024 < LIMITS.peerFrameBytesMax, 'one append fits one frame');
assert(
  LIMITS.raftInflightBytesMax + LARGEST_APPEND_BYTES + 64 * 1024 < LIMITS.peerQueueBytesMax,
  'what is under way to a follower fits the queue of a peer',
);
assert(
  LIMITS.raftKeepEntries + LIMITS.raftCompactEntries <= LIMITS.raftHoldEntries &&
    LIMITS.raftHoldEntries + LIMITS.raftCompactEntries < LIMITS.raftLogEntriesMax,
  'a log is compacted long before it has too many entries',
);
assert(
  LIMITS.raftKeepBytes + LIMITS.raftCompactBytes <= LIMITS.raftHoldBytes &&
    2 * LIMITS.raftHoldBytes <= LIMITS.raftLogBytesMax,
  'a log is compacted long before it has too many bytes',
);
assert(LIMITS.raftTailBytesMax >= 2 * LARGEST_APPEND_BYTES, 'what a follower is sent next is in memory');
assert(LIMITS.peerQueueBytesMax >= 2 * LIMITS.peerFrameBytesMax, 'two frames fit the queue of a peer');
assert(LIMITS.peerFrameBytesMax < LIMITS.grpcMessageBytesMax, 'one frame fits one gRPC message');
assert(LIMITS.opBytesMax < LIMITS.raftEntryBytesMax, 'one operation fits one entry');
assert(
  LIMITS.jobFileBytesMax * 1.5 <= LIMITS.opBytesMax,
  'a job and what is compiled to it fit one operation',
);
assert(
  LIMITS.executorHeartbeatMs * 3 <= LIMITS.executorSuspectMs,
  'an executor is suspect after three lost heartbeats',
);
assert(LIMITS.tasksOpenMax * 2 <= LIMITS.tasksKeptMax, 'open tasks leave room for finished ones');
assert(
  LIMITS.storeCommitRowsMax + LIMITS.storeWriteRowsMax <= LIMITS.storeRowsWaitingMax,
  'a collector reads on while a full transaction is written',
);
assert(LIMITS.executorSuspectMs * 2 <= LIMITS.executorSessionMs, 'suspicion comes well before expiry');
assert(
  LIMITS.keyValueBatchesOutstandingMax * LIMITS.keyValueWritesPerBatchMax * 20 <= LIMITS.sessionReplyBytesMax,
  'a session keeps the answers of all unanswered batches (at most 20 bytes a write)',
);
assert(
  2 * LIMITS.keyValueBatchesOutstandingMax <= LIMITS.keyValueRequestsPerStreamMax,
  'a client in order never meets the bound of its stream',
);
assert(
  LIMITS.keyBytesMax + LIMITS.keyValueBytesMax + 1_024 <= LIMITS.keyValueBatchBytesMax,
  'one write fits one batch',
);
assert(LIMITS.keyValueBatchBytesMax * 2 <= LIMITS.opBytesMax, 'one batch fits one operation');
assert(2 * LIMITS.keyValueReadBytesMax <= LIMITS.grpcMessageBytesMax, 'one reply to a read fits one message');
assert(
  (2 * LIMITS.keyValueTableBytesMax) / LIMITS.snapshotBytesPerSecond < LIMITS.membershipDeadlineMs / 1_000,
  'a new member gets a state twice as large as there is in the time that it has',
);
assert(
  LIMITS.snapshotChunkBytesMax + LIMITS.opBytesMax < LIMITS.peerFrameBytesMax,
  'a piece of a snapshot fits one frame',
);
assert(
  2 * LIMITS.contributionPieceRows <= LIMITS.contributionRowsHeldMax,
  'what is staged goes in several pieces',
);
