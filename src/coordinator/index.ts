/** One coordinator process: what the command line starts. */
export { startCoordinator, type RunningCoordinator } from './coordinator.ts';
export { inspectSnapshotFile, type InspectedSnapshot } from './inspect-snapshot-file.ts';
export { stoppedMemberSnapshot, type OfflineEnd } from './offline-snapshot.ts';
export { recoverCluster, type RecoveredCluster, type RecoverOptions } from './recover.ts';
export { restoreCluster, type RestoredMember, type RestoreOptions } from './restore.ts';
export type { CoordinatorOptions, ListenOptions } from './options.ts';
