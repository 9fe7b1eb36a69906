/**
 * Every failpoint and every mutation there is, and how a child process is told. A name that is not here
 * does not compile.
 */

/** Places where the test build can hold, fail or kill a process. `area.moment`, in the order of the work. */
export const FAILPOINTS = [
  'raft.beforePersist',
  'raft.afterPersist',
  'scheduler.afterGrantBeforeDispatch',
  'coordinator.beforeJoin',
  'collector.beforeMark',
  'collector.beforeSeal',
  'executor.afterCompute',
  'executor.beforeMergeCommit',
  'executor.afterCommitBeforeReport',
  'backup.beforeWrite',
  'backup.beforeFolderSync',
  'backup.beforeIdentity',
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
  'raft.followerReadWithoutRound',
  'raft.readJoinsRoundUnderWay',
  'raft.readAnswerOfOtherStart',
  'raft.readOutlivesLeader',
  'raft.commitBeyondVerified',
  'raft.ackWholeLog',
  'raft.replyBeforeCommit',
  'raft.missingHardStateIsFresh',
  'raft.olderTermAccepted',
  'raft.noDiskWatch',
  'raft.goesOnAfterFailedWrite',
  'raft.transferWithoutCatchUp',
  'raft.transferTakesProposals',
  'raft.installKeepsConflict',
  'raft.failedInstallIgnored',
  'raft.uncommittedUnbounded',
  'raft.probeSendsMany',
  'raft.inflightUnbounded',
  'raft.lostAppendUnnoticed',
  'raft.lateAckMovesBack',
  'raft.lateRefusalCounts',
  'raft.compactBeforeFlush',
  'raft.heldLogUnbounded',
  'raft.silentFollowersHold',
  'raft.snapshotOfOtherTerm',
  'raft.lostStateCampaigns',
  'raft.lostStateTakesEntries',
  'raft.snapshotNotPaced',
  'raft.repeatedSnapshotsUnnoticed',
  'raft.snapshotUnpaced',
  'raft.compactsBeforeFollowers',
  'raft.compactsByCountOnly',
  'raft.incarnationIgnored',
  'raft.logNotSynced',
  'raft.removedMemberHeard',
  'raft.removedLearnerNotTold',
  'raft.strangerAsksNobody',
  'raft.twoPendingChanges',
  'raft.changeBeforeOwnTermCommit',
  'raft.votesInOldConfiguration',
  'raft.commitByNewHalfOnly',
  'raft.configurationNotRolledBack',
  'raft.learnerCounts',
  'raft.learnerCampaigns',
  'raft.strangerVotes',
  'raft.promotesUnready',
  'raft.changesIntoSilence',
  'raft.jointNeverLeft',
  'raft.removedLeaderCounts',
  'raft.removedLeaderStays',
  'raft.openRemovalSilences',
  'raft.removedRaisesTerm',
  'raft.installKeepsConfiguration',
  'raft.installUnannounced',
  'state.sessionNotDeduplicated',
  'state.compareIgnored',
  'state.tokenFromTermOnly',
  'state.restoreKeepsCounters',
  'state.restoreKeepsCollectors',
  'state.sealWithoutChain',
  'state.sealOfDeposedEpoch',
  'state.doneOfOldVersion',
  'state.digestIgnoresDeletes',
  'state.rowChecksumIgnored',
  'state.digestNotComparedAtOpen',
  'state.installInPlace',
  'state.headWrittenApart',
  'state.installNotSynced',
  'state.emptyDatabaseRefused',
  'state.brokenLogRefused',
  'state.brokenLogNotCut',
  'state.missingWritesUnnoticed',
  'state.flushNotSynced',
  'state.flushTakenOnTrust',
  'state.sweepBesideWrites',
  'state.snapshotOfTwoMoments',
  'state.snapshotWithoutSessions',
  'state.appliesOwnClock',
  'state.scrubIgnoresSum',
  'state.scrubIgnoresRecords',
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
  'coordinator.proposeOfOlderTerm',
  'coordinator.welcomeWithoutRecheck',
  'coordinator.heartbeatWithoutLeading',
  'coordinator.foreignExecutorServed',
  'coordinator.identityBeforeAdmission',
  'coordinator.initNotArbitrated',
  'coordinator.admitsDuringInit',
  'coordinator.admitsForAnyone',
  'coordinator.digestsNotCompared',
  'coordinator.splitForgotten',
  'client.learnsNobody',
  'coordinator.removedMemberStarts',
  'coordinator.addWithoutAsking',
  'coordinator.wipedMemberReadmitted',
  'coordinator.handsOverUnchecked',
  'coordinator.executorNameShared',
  'coordinator.repliesInOneFrame',
  'coordinator.executorMayAll',
  'client.underWayIsFailure',
  'client.expiredSessionRetried',
  'wire.authorityNotChecked',
  'wire.certificateDatesIgnored',
  'sql.lostCommitIsFailure',
  'sql.lockWaitKeepsTransaction',
  'job.rowsOfAnyEpoch',
  'job.textKeysNotBytes',
  'job.roundSumsNotValues',
  'collector.cutInsideTransaction',
  'collector.rowsWithoutEpoch',
  'backup.checksumIgnored',
  'backup.termNotRaised',
  'backup.clusterIdKept',
  'backup.restoreIdUnchecked',
  'backup.firstEntriesDiffer',
  'backup.recoverWithoutTail',
  'backup.keepsRows',
  'backup.unpaced',
] as const;
export type MutationName = (typeof MUTATIONS)[number];

/** `pause` holds until the failpoint is released or disarmed; `kill` is SIGKILL; `error` throws. */
export type FailpointAction = 'pause' | 'kill' | 'error';

export interface FailpointArm {
  readonly name: FailpointName;
  readonly action: FailpointAction;
  /** Only a hit whose detail holds all these values counts. */
  readonly match?: Readonly<Record<string, string>>;
}

export type TestBuildMessage =
  | { readonly testBuild: 'arm'; readonly arm: FailpointArm }
  | { readonly testBuild: 'release'; readonly name: FailpointName }
  | { readonly testBuild: 'disarm'; readonly name: FailpointName }
  /** The event loop stands still for so long, as under a garbage collection that does not end. */
  | { readonly testBuild: 'block'; readonly ms: number };

export interface FailpointHit {
  readonly testBuild: 'hit';
  readonly name: FailpointName;
  readonly action: FailpointAction;
  readonly detail: Readonly<Record<string, string>>;
}
