/** The running member: core, log, peers, clock and state machine together. */
export { RaftDriver, type CoreView, type DriverParts } from './driver.ts';
export { foundRaftFolder, readRaftFolder, type OfflineEntry, type OfflineLog } from './offline-folder.ts';
export { makeRaftFolder, startOnStore, startRaftNode, type Surroundings } from './start.ts';
export { followInstalled } from './follow-installed.ts';
export type { CompactionPolicy } from './compaction.ts';
export type { DriverTuning } from './tuning.ts';
