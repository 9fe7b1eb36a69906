/** Consensus: a replicated log of opaque bytes with linearizable reads. */
export { foundRaftFolder, makeRaftFolder, readRaftFolder, startRaftNode } from './driver/index.ts';
export type { OfflineEntry, OfflineLog } from './driver/index.ts';
export {
  createGrpcPeerTransport,
  type GrpcPeerTransport,
  type GrpcPeerTransportOptions,
} from './grpc-transport/index.ts';
export type {
  CommittedEntry,
  Configuration,
  ConfiguredMember,
  FollowerStatus,
  Member,
  MemberRole,
  MembershipChange,
  PeerTransport,
  PreparedState,
  ProposeResult,
  RaftLogger,
  RaftNode,
  RaftOptions,
  RaftStatus,
  ReplicatedStateMachine,
  Role,
  SnapshotCapability,
  StateSnapshot,
} from './types.ts';
