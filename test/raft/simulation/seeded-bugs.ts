/**
 * Bugs that are planted one at a time, to see whether the simulator finds them: each is a rule that the test
 * build can switch off. A bug that nobody finds is a fault of the simulator.
 */
import type { MutationName } from '../../../src/base/index.ts';
import { setMutation } from '../../../src/base/test-build-active.ts';
import { Violation } from './oracles.ts';
import { runSeed } from './run.ts';
import { UNDECIDED } from './simulation.ts';
import { deafLeader, hangingDisk, returningFollower, strandedLeader } from './scenarios.ts';

export interface SeededBug {
  readonly name: MutationName;
  /** A fault that is placed, where chance would take long. @default seeds by chance */
  readonly placed?: (seed: number) => Promise<void>;
  /** A seed that revealed it, where the first ones do not: tests begin there. */
  readonly revealedBy?: number;
}

export const SEEDED_BUGS: readonly SeededBug[] = [
  { name: 'raft.ackBeforePersist' },
  { name: 'raft.voteNotPersisted' },
  { name: 'raft.commitOlderTermByCounting' },
  { name: 'raft.voteWithoutLogCheck' },
  { name: 'raft.readIndexWithoutQuorum', placed: strandedLeader },
  { name: 'raft.readIndexBeforeOwnTermCommit' },
  { name: 'raft.olderTermAccepted', revealedBy: 40 },
  { name: 'raft.goesOnAfterFailedWrite', revealedBy: 5 },
  { name: 'raft.noDiskWatch', placed: hangingDisk },
  { name: 'state.sessionNotDeduplicated' },
  { name: 'raft.noPreVote', placed: returningFollower },
  { name: 'raft.noCheckQuorum', placed: deafLeader },
];

const SEEDS_MAX = 300;

/** Returns after how many seeds from `first` on a bug was found, or undefined. */
export async function find(
  bug: SeededBug,
  first = 1,
  seedsMax = SEEDS_MAX,
): Promise<{ readonly seeds: number; readonly violation: string } | undefined> {
  setMutation(bug.name, true);
  try {
    for (let seed = first; seed < first + seedsMax; seed++) {
      const violation = await violationOf(bug, seed);
      if (violation !== undefined && violation !== UNDECIDED) return { seeds: seed - first + 1, violation };
    }
    return undefined;
  } finally {
    setMutation(bug.name, false);
  }
}

async function violationOf(bug: SeededBug, seed: number): Promise<string | undefined> {
  if (bug.placed === undefined) return (await runSeed({ seed })).violation;
  try {
    await bug.placed(seed);
    return undefined;
  } catch (error) {
    if (error instanceof Violation) return error.message;
    throw error;
  }
}

/** Plants every bug whose name begins with `prefix`. Returns the exit code: 0 if all were found. */
export async function hunt(prefix: string, say: (line: string) => void): Promise<number> {
  const bugs = SEEDED_BUGS.filter(({ name }) => prefix === 'all' || name.startsWith(prefix));
  let detected = 0;
  for (const bug of bugs) {
    const found = await find(bug);
    if (found !== undefined) detected++;
    const seen = found === undefined ? 'MISSED  ' : 'detected';
    const how = found === undefined ? `in ${SEEDS_MAX} seeds` : `seeds ${found.seeds}: ${found.violation}`;
    say(`${seen}  ${bug.name}  ${how}`);
  }
  say(`${detected} / ${bugs.length} detected`);
  return detected === bugs.length && bugs.length > 0 ? 0 : 1;
}
