/** The running member: core, log, peers, clock and state machine together. */
export { RaftDriver, type CoreView, type DriverParts, type DriverTuning } from './driver.ts';
export { startRaftNode } from './start.ts';
