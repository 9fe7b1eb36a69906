/** What a chaos run really did. Without each of the four required events it has proved nothing. */

export interface ChaosCounts {
  /** How often each required event must have happened: once per 30 s of load, at least once. */
  required: number;
  /** The leader was killed between a task's grant and its dispatch, and another coordinator led on. */
  leaderChangesWithTasksInFlight: number;
  /** A held executor submitted its merge under the old token after the newer version had merged. */
  fencedMerges: number;
  /** The collector's host died with rows that were in the store and not sealed, and another took over. */
  collectorTakeoversWithUnsealedRows: number;
  /** An executor died between commit and report, and the next version replaced its contribution. */
  replacedContributions: number;
  kills: number;
  stops: number;
  /** Stopped processes that held a database's write lock past their session and were killed for it. */
  lockHoldersKilled: number;
  /** Placed faults that did not come about and were tried again. */
  missed: number;
}

export const REQUIRED_EVENTS = [
  'leaderChangesWithTasksInFlight',
  'fencedMerges',
  'collectorTakeoversWithUnsealedRows',
  'replacedContributions',
] as const satisfies readonly (keyof ChaosCounts)[];

export function newCounts(): ChaosCounts {
  return {
    required: 1,
    leaderChangesWithTasksInFlight: 0,
    fencedMerges: 0,
    collectorTakeoversWithUnsealedRows: 0,
    replacedContributions: 0,
    kills: 0,
    stops: 0,
    lockHoldersKilled: 0,
    missed: 0,
  };
}

/** Load of this length must see each required event once. */
export const EVENT_EVERY_MS = 30_000;

export function requiredTimes(loadMs: number): number {
  return Math.max(1, Math.floor(loadMs / EVENT_EVERY_MS));
}

/** The required events that did not happen often enough. */
export function missingEvents(counts: ChaosCounts): string[] {
  return REQUIRED_EVENTS.filter((name) => counts[name] < counts.required);
}
