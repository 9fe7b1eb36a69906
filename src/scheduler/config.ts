/** Settings of the scheduler, in milliseconds where they are times (design section 7). */
import { assert, LIMITS } from '../base/index.ts';
import type { PlannerConfig } from './planner/types.ts';

export interface SchedulerConfig extends PlannerConfig {
  /** A round runs at least this often. */
  readonly tickMs: number;
  /** Events within this time share a round, and so an entry. */
  readonly coalesceMs: number;
}

export const SCHEDULER_DEFAULTS: SchedulerConfig = {
  tickMs: 100,
  coalesceMs: 2,
  suspectMs: LIMITS.executorSuspectMs,
  sessionMs: LIMITS.executorSessionMs,
  taskDeadlineMs: LIMITS.taskDeadlineMs,
  taskThousandRowsMs: 200,
  firstTaskDeadlineMs: 300_000,
  prepareDeadlineMs: 60_000,
  statesThousandRowsMs: 100,
  reconcileDeadlineMs: 120_000,
  probeMs: 3_000,
  resendAfterMs: 3 * LIMITS.executorHeartbeatMs,
  attemptsMax: 3,
  slowAttemptsMax: 6,
  parkBaseMs: 15_000,
  parkCapMs: 300_000,
  sourceRetryBaseMs: 1_000,
  sourceRetryCapMs: 30_000,
  tasksPerSlot: 2,
  holeRetentionMs: 24 * 60 * 60 * 1_000,
  windowsKept: 200,
  housekeepingDeadlineMs: 120_000,
  spanWindowsMax: LIMITS.spanWindowsMax,
  tasksKeptMax: LIMITS.tasksKeptMax,
  windowsHeldMax: LIMITS.windowsKeptMax,
  operationsPerRoundMax: 256,
  tasksOpenMax: LIMITS.tasksOpenMax,
};

assert(SCHEDULER_DEFAULTS.operationsPerRoundMax <= LIMITS.opsPerEntryMax, 'a round fits one entry');

/** What `tidemark dev` sets otherwise: short delays, because its faults are made on purpose and end soon. */
export const SCHEDULER_DEV: Partial<SchedulerConfig> = {
  parkBaseMs: 2_000,
  parkCapMs: 15_000,
  sourceRetryBaseMs: 500,
  sourceRetryCapMs: 5_000,
};
