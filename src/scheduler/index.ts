/** What the leader decides: a pure planner and the loop that proposes and dispatches what it planned. */
export { SCHEDULER_DEFAULTS, SCHEDULER_DEV, type SchedulerConfig } from './config.ts';
export type { SchedulerCounters } from './counters.ts';
export type * from './ports.ts';
export { createScheduler, type Scheduler, type SchedulerLogger, type SchedulerOptions } from './scheduler.ts';
export { taskTimeMs } from './task-time.ts';
