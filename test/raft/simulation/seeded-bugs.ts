/**
 * Bugs that are planted one at a time, to see whether the simulator finds them: each is a rule that the test
 * build can switch off. A bug that nobody finds is a fault of the simulator.
 */
import type { MutationName } from '../../../src/base/index.ts';
import { setMutation } from '../../../src/base/test-build-active.ts';
import { Violation } from './oracles.ts';
import { runSeed } from './run.ts';
import { UNDECIDED } from './simulation.ts';
import {
  deafLeader,
  emptyAppend,
  forgottenVote,
  hangingDisk,
  returningFollower,
  strandedFollower,
  strandedLeader,
} from './scenarios.ts';

export interface SeededBug {
  readonly name: MutationName;
  /** Its number in the list of bugs that every harness must find. */
  readonly row?: number;
  /** A fault that is placed, where chance would take long. @default seeds by chance */
  readonly placed?: (seed: number) => Promise<void>;
  /** A seed that revealed it, where the first ones do not: tests begin there. */
  readonly revealedBy?: number;
}

export const SEEDED_BUGS: readonly SeededBug[] = [
  { name: 'raft.ackBeforePersist', row: 1 },
  { name: 'raft.replyBeforeCommit', row: 2 },
  { name: 'raft.voteNotPersisted', row: 3 },
  { name: 'raft.commitOlderTermByCounting', row: 4 },
  { name: 'raft.voteWithoutLogCheck', row: 5 },
  { name: 'raft.ackWholeLog', row: 7, placed: emptyAppend },
  { name: 'raft.commitBeyondVerified', row: 8, placed: emptyAppend },
  { name: 'raft.olderTermAccepted', row: 10, revealedBy: 40 },
  { name: 'raft.readIndexWithoutQuorum', row: 11, placed: strandedLeader },
  { name: 'raft.followerReadWithoutRound', row: 11, placed: strandedFollower },
  { name: 'raft.readIndexBeforeOwnTermCommit', row: 14 },
  { name: 'state.sessionNotDeduplicated', row: 15 },
  { name: 'state.snapshotWithoutSessions', row: 16 },
  { name: 'state.snapshotOfTwoMoments', row: 18 },
  { name: 'state.installNotSynced', row: 19 },
  { name: 'state.headWrittenApart', row: 21 },
  { name: 'state.appliesOwnClock', row: 22 },
  { name: 'raft.noPreVote', row: 45, placed: returningFollower },
  { name: 'raft.noCheckQuorum', row: 45, placed: deafLeader },
  { name: 'raft.noDiskWatch', row: 46, placed: hangingDisk },
  { name: 'raft.goesOnAfterFailedWrite', row: 47, revealedBy: 5 },
  { name: 'raft.missingHardStateIsFresh', row: 49, placed: forgottenVote },
  { name: 'state.compareIgnored', row: 52 },
  { name: 'raft.compactBeforeFlush' },
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
    say(`${seen}  ${String(bug.row ?? '-').padStart(2)}  ${bug.name}  ${how}`);
  }
  say(`${detected} / ${bugs.length} detected`);
  return detected === bugs.length && bugs.length > 0 ? 0 : 1;
}
