/** Consensus: a replicated log of opaque bytes with linearizable reads. */
export { startRaftNode } from './driver/index.ts';
export {
  createGrpcPeerTransport,
  type GrpcPeerTransport,
  type GrpcPeerTransportOptions,
} from './grpc-transport/index.ts';
export type {
  CommittedEntry,
  Member,
  PeerTransport,
  ProposeResult,
  RaftLogger,
  RaftNode,
  RaftOptions,
  RaftStatus,
  ReplicatedStateMachine,
  Role,
} from './types.ts';
