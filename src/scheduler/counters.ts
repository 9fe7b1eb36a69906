/** What the scheduler has done since the process started, for `/metrics`. */
import type { Cause } from './planner/types.ts';

export interface SchedulerCounters {
  /** Spans opened: steps of one report over one or more windows. */
  spans: number;
  /** Folds of a report and drops of history that were done, and those that failed. */
  folds: number;
  drops: number;
  housekeepingFailed: number;
  /** Task versions granted, the first ones included. */
  grants: number;
  /** Versions beyond the first, by what replaced the one before. */
  versionsBumped: number;
  versionsAfterHang: number;
  versionsAfterExpiry: number;
  tasksFinished: number;
  tasksParked: number;
  /** Tasks sent on the way to DEAD. */
  tasksDead: number;
  /** Tasks that retention made permanent holes. */
  tasksSkipped: number;
  outcomesFenced: number;
  /** Outcomes of versions or epochs that were not current any more; dropped. */
  outcomesStale: number;
  /** Fresh epochs of report databases, the first ones included. */
  sinkEpochs: number;
  collectorGrants: number;
  collectorTakeovers: number;
  /** Times that windows were found lost by their store, to be captured again. */
  windowsLost: number;
  /** Grants of row states, and those of them that took over from one that was late or whose executor left. */
  statesGrants: number;
  statesTakeovers: number;
  statesFailed: number;
  /** Times that a failover had taken a shard's row states back. */
  statesResets: number;
  executorsExpired: number;
  brakes: number;
  dispatches: number;
  /** Operations that the state refused: it had changed since they were planned. */
  refused: number;
}

export function newCounters(): SchedulerCounters {
  return {
    spans: 0,
    folds: 0,
    drops: 0,
    housekeepingFailed: 0,
    grants: 0,
    versionsBumped: 0,
    versionsAfterHang: 0,
    versionsAfterExpiry: 0,
    tasksFinished: 0,
    tasksParked: 0,
    tasksDead: 0,
    tasksSkipped: 0,
    outcomesFenced: 0,
    outcomesStale: 0,
    sinkEpochs: 0,
    collectorGrants: 0,
    collectorTakeovers: 0,
    windowsLost: 0,
    statesGrants: 0,
    statesTakeovers: 0,
    statesFailed: 0,
    statesResets: 0,
    executorsExpired: 0,
    brakes: 0,
    dispatches: 0,
    refused: 0,
  };
}

/** What each cause counts, once its operation was accepted. */
const COUNTED: Readonly<Record<Cause, readonly (keyof SchedulerCounters)[]>> = {
  'span-opened': ['spans'],
  'first-grant': ['grants'],
  hung: ['versionsAfterHang', 'grants', 'versionsBumped'],
  'executor-gone': ['versionsAfterExpiry', 'grants', 'versionsBumped'],
  dead: ['tasksDead', 'grants', 'versionsBumped'],
  woken: ['grants', 'versionsBumped'],
  failed: ['grants', 'versionsBumped'],
  fenced: ['grants', 'versionsBumped'],
  'sink-epoch': ['grants', 'versionsBumped'],
  skipped: ['tasksSkipped'],
  finished: ['tasksFinished'],
  parked: ['tasksParked'],
  'executor-expired': ['executorsExpired'],
  'collector-granted': ['collectorGrants'],
  'collector-takeover': ['collectorGrants', 'collectorTakeovers'],
  'states-granted': ['statesGrants'],
  'states-taken-over': ['statesGrants', 'statesTakeovers'],
  'states-failed': ['statesFailed'],
  'states-reset': ['statesResets'],
  folded: ['folds'],
  dropped: ['drops'],
  'housekeeping-failed': ['housekeepingFailed'],
  'report-granted': [],
  'report-finished': [],
  'copies-lost': [],
  'fold-granted': [],
  'drop-granted': [],
  'states-finished': [],
  'executor-left': [],
  'sink-granted': ['sinkEpochs'],
  'sink-failed': [],
  'prepare-granted': [],
  'prepare-finished': [],
  'collector-stopped': [],
  'windows-lost': ['windowsLost'],
};

export function countAccepted(counters: SchedulerCounters, cause: Cause): void {
  for (const name of COUNTED[cause]) counters[name] += 1;
}
