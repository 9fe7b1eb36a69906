/** The gRPC transport between members. */
export {
  createGrpcPeerTransport,
  type GrpcPeerTransport,
  type GrpcPeerTransportOptions,
} from './grpc-transport.ts';
