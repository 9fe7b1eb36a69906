/**
 * What is replicated: operations as versioned data, a synchronous view, tables on LevelDB, snapshots, log
 * time.
 */
export { applyEntry, applyOperation } from './commands/apply.ts';
export type { DeclaredItem } from './commands/declare-job.ts';
export { decodeEntry, encodeEntry, ENTRY_FORMAT } from './commands/entry.ts';
export {
  idKey,
  parseTaskKey,
  spanKey,
  spanPrefix,
  taskRowKey,
  taskRowKeyOf,
  taskWindowPrefix,
  windowKey,
  windowPrefix,
  type TaskIdentity,
} from './commands/keys.ts';
export type * from './commands/operations.ts';
export { taskKey, STATE_FORMAT } from './commands/records.ts';
export { isStuck, mayResnapshot } from './commands/resnapshot.ts';
export type * from './commands/records.ts';
export { openPrepare, takesTables } from './commands/additions.ts';
export { isPrepared } from './commands/copies.ts';
export { hasCaughtUp, isRetired, newestNamed } from './commands/generations.ts';
export { decodeReplies } from './commands/replies.ts';
export { isReconciled } from './commands/sinks.ts';
export { firstForStates, haveHoles, statesWindow } from './commands/states.ts';
export { isOpenTask, mayJoin } from './commands/spans.ts';
export { isStopped, marksOf, reportsOf } from './commands/windows.ts';
export type { StateWriter, TableWriter } from './commands/writer.ts';
export { inspectSnapshot, snapshotAs, type SnapshotContents } from './foreign-snapshot.ts';
export { LogClock } from './log-time.ts';
export type { DigestAt } from './digest-history.ts';
export { MemoryState } from './memory-state.ts';
export {
  openStateMachine,
  restoreState,
  type AppliedEntry,
  type StateMachine,
  type StateMachineOptions,
} from './state-machine.ts';
export type {
  DatabaseSnapshot,
  OpenDatabase,
  RowIterator,
  StateBatch,
  StateDatabase,
} from './state-database.ts';
export type { StateView, TableView, TasksView } from './view.ts';
