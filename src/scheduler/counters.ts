/** What the scheduler has done since the process started, for `/metrics`. */
import { assertNever } from '../base/index.ts';
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
  collectorGrants: number;
  collectorTakeovers: number;
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
    collectorGrants: 0,
    collectorTakeovers: 0,
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

/** Counts an operation that was accepted. */
export function countAccepted(counters: SchedulerCounters, cause: Cause): void {
  switch (cause) {
    case 'folded':
      counters.folds += 1;
      return;
    case 'dropped':
      counters.drops += 1;
      return;
    case 'housekeeping-failed':
      counters.housekeepingFailed += 1;
      return;
    case 'fold-granted':
    case 'drop-granted':
      return;
    case 'span-opened':
      counters.spans += 1;
      return;
    case 'first-grant':
      counters.grants += 1;
      return;
    case 'hung':
      counters.versionsAfterHang += 1;
      countBump(counters);
      return;
    case 'executor-gone':
      counters.versionsAfterExpiry += 1;
      countBump(counters);
      return;
    case 'dead':
      counters.tasksDead += 1;
      countBump(counters);
      return;
    case 'woken':
    case 'failed':
    case 'fenced':
    case 'sink-epoch':
      countBump(counters);
      return;
    case 'skipped':
      counters.tasksSkipped += 1;
      return;
    case 'finished':
      counters.tasksFinished += 1;
      return;
    case 'parked':
      counters.tasksParked += 1;
      return;
    case 'executor-expired':
      counters.executorsExpired += 1;
      return;
    case 'collector-granted':
      counters.collectorGrants += 1;
      return;
    case 'collector-takeover':
      counters.collectorGrants += 1;
      counters.collectorTakeovers += 1;
      return;
    case 'states-granted':
      counters.statesGrants += 1;
      return;
    case 'states-taken-over':
      counters.statesGrants += 1;
      counters.statesTakeovers += 1;
      return;
    case 'states-failed':
      counters.statesFailed += 1;
      return;
    case 'states-reset':
      counters.statesResets += 1;
      return;
    case 'states-finished':
    case 'executor-left':
    case 'sink-granted':
    case 'prepare-granted':
    case 'prepare-finished':
    case 'collector-stopped':
      return;
    default:
      assertNever(cause, 'cause');
  }
}

function countBump(counters: SchedulerCounters): void {
  counters.grants += 1;
  counters.versionsBumped += 1;
}
