/** The faults of `dev --chaos`. */
export { runChaos } from './chaos-driver.ts';
export type { ChaosContext, ChildHit, ChildRecord, ClusterQuestions } from './context.ts';
export { missingEvents, newCounts, REQUIRED_EVENTS, requiredTimes, type ChaosCounts } from './counts.ts';
export { EventLog } from './event-log.ts';
