/** What a chaos run really did. Without each of the four required events it has proved nothing. */

export interface ChaosCounts {
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

/** The required events that never happened. */
export function missingEvents(counts: ChaosCounts): string[] {
  return REQUIRED_EVENTS.filter((name) => counts[name] === 0);
}
