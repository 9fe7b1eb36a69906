/** The running member: core, log, peers, clock and state machine together. */
export { RaftDriver, type DriverParts } from './driver.ts';
export { startRaftNode } from './start.ts';
