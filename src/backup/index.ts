/** Backups: the state of a cluster in one file. */
export { snapshotBytes, type SnapshotHeader } from './snapshot-format.ts';
export { checkSnapshotFile, snapshotFileChunks, type CheckedSnapshot } from './read-snapshot-file.ts';
export { writeSnapshotFile, type WrittenSnapshot } from './write-snapshot-file.ts';
