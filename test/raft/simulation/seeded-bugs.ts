/**
 * Bugs that are planted one at a time, to see whether the simulator finds them: each is a rule that the test
 * build can switch off. A bug that nobody finds is a fault of the simulator.
 *
 * Not among them: row 12, reads under a lease, of which we have none; and those rules of membership that
 * keep a cluster from standing still or from needless elections, but whose loss breaks nothing that must
 * hold: tests of the core hold them. A learner that campaigns needs a majority of voters whose logs end no
 * later, as anybody does. Whoever was removed and raises the term, or leads on, costs an election, no entry.
 */
import type { MutationName } from '../../../src/base/index.ts';
import { setMutation } from '../../../src/base/test-build-active.ts';
import { runSeed } from './run.ts';
import { UNDECIDED } from './simulation.ts';
import { emptyVoter, hastyLeader, twoChanges } from './member-scenarios.ts';
import {
  deafLeader,
  emptyAppend,
  forgottenVote,
  hangingDisk,
  returningFollower,
  strandedFollower,
  strandedLeader,
} from './scenarios.ts';
import { Violation } from './violation.ts';

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
  { name: 'raft.voteWithoutLogCheck', row: 5, revealedBy: 9 },
  { name: 'raft.ackWholeLog', row: 7, placed: emptyAppend },
  { name: 'raft.commitBeyondVerified', row: 8, placed: emptyAppend },
  { name: 'raft.olderTermAccepted', row: 10, revealedBy: 6 },
  { name: 'raft.readIndexWithoutQuorum', row: 11, placed: strandedLeader },
  { name: 'raft.followerReadWithoutRound', row: 11, placed: strandedFollower },
  { name: 'raft.readIndexBeforeOwnTermCommit', row: 14, revealedBy: 3 },
  { name: 'state.sessionNotDeduplicated', row: 15, revealedBy: 3 },
  { name: 'state.snapshotWithoutSessions', row: 16, revealedBy: 5 },
  { name: 'state.snapshotOfTwoMoments', row: 18, revealedBy: 5 },
  { name: 'state.installNotSynced', row: 19, revealedBy: 5 },
  { name: 'state.headWrittenApart', row: 21, revealedBy: 3 },
  { name: 'state.appliesOwnClock', row: 22 },
  { name: 'raft.twoPendingChanges', row: 42, placed: twoChanges },
  { name: 'raft.changeBeforeOwnTermCommit', row: 42, placed: hastyLeader },
  { name: 'raft.votesInOldConfiguration', row: 43, revealedBy: 9 },
  { name: 'raft.configurationNotRolledBack', row: 43, revealedBy: 9 },
  { name: 'raft.commitByNewHalfOnly', revealedBy: 9 },
  { name: 'raft.removedLeaderCounts', revealedBy: 12 },
  { name: 'raft.learnerCounts', revealedBy: 6 },
  { name: 'raft.jointNeverLeft', revealedBy: 6 },
  { name: 'raft.installKeepsConfiguration', revealedBy: 5 },
  { name: 'raft.strangerVotes', placed: emptyVoter },
  { name: 'raft.noPreVote', row: 45, placed: returningFollower },
  { name: 'raft.noCheckQuorum', row: 45, placed: deafLeader },
  { name: 'raft.noDiskWatch', row: 46, placed: hangingDisk },
  { name: 'raft.goesOnAfterFailedWrite', row: 47, revealedBy: 7 },
  { name: 'raft.missingHardStateIsFresh', row: 49, placed: forgottenVote },
  { name: 'state.compareIgnored', row: 52 },
  { name: 'raft.compactBeforeFlush', revealedBy: 5 },
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
