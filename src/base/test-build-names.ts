/** Every failpoint and every mutation there is. A name that is not here does not compile. */

/** Places where the test build can hold, fail or kill a process. `area.moment`, in the order of the work. */
export const FAILPOINTS = [
  'raft.beforePersist',
  'raft.afterPersist',
  'scheduler.afterGrantBeforeDispatch',
  'collector.beforeMark',
  'collector.beforeSeal',
  'executor.afterCompute',
  'executor.beforeMergeCommit',
  'executor.afterCommitBeforeReport',
] as const;
export type FailpointName = (typeof FAILPOINTS)[number];

/** Rules that the test build can switch off, one at a time. Each has a test that then fails. */
export const MUTATIONS = [
  'raft.commitOlderTermByCounting',
  'raft.voteWithoutLogCheck',
  'raft.voteNotPersisted',
  'raft.ackBeforePersist',
  'raft.noPreVote',
  'raft.noCheckQuorum',
  'raft.readIndexWithoutQuorum',
  'raft.readIndexBeforeOwnTermCommit',
  'raft.commitBeyondVerified',
  'state.sessionNotDeduplicated',
  'state.tokenFromTermOnly',
  'state.sealWithoutChain',
  'state.sealOfDeposedEpoch',
  'state.doneOfOldVersion',
  'state.digestIgnoresDeletes',
  'state.rowChecksumIgnored',
  'state.digestNotComparedAtOpen',
  'scheduler.judgesAtOnce',
  'scheduler.noBrake',
  'scheduler.collectorKeepsEpoch',
  'scheduler.dispatchesWhenDeposed',
  'merge.ignoreSinkEpoch',
  'merge.sinkEpochAtLeast',
  'merge.ignoreFoldMark',
  'merge.ignoreFloor',
  'merge.reapplySameToken',
  'merge.keepOldContribution',
  'merge.ledgerNotWritten',
  'merge.ledgerOutsideTransaction',
  'merge.deleteEmptyRows',
  'merge.perWindowExtremes',
  'merge.dropNegativeMembers',
  'merge.nonNullCountIgnored',
  'merge.skipKeepsContribution',
  'merge.floorNotRaised',
  'merge.watermarkSkipsHoles',
  'collector.cutInsideTransaction',
  'collector.rowsWithoutEpoch',
] as const;
export type MutationName = (typeof MUTATIONS)[number];
