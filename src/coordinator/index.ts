/** One coordinator process: what the command line starts. */
export { startCoordinator, type RunningCoordinator } from './coordinator.ts';
export { inspectSnapshotFile, type InspectedSnapshot } from './backups/inspect-snapshot-file.ts';
export { stoppedMemberSnapshot, type OfflineEnd } from './backups/offline-snapshot.ts';
export { recoverCluster, type RecoveredCluster, type RecoverOptions } from './backups/recover.ts';
export { restoreCluster, type RestoredMember, type RestoreOptions } from './backups/restore.ts';
export type { CoordinatorOptions, ListenOptions } from './options.ts';
