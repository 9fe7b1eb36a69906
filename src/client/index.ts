/** The SDK: connect to a cluster, declare jobs, look at windows, tasks, executors and reports. */
export type { KeyValue, KeyValueClient, KeyValueOptions } from './key-value.ts';
export { connect, type ConnectOptions, type TidemarkClient } from './client.ts';
export type { KnownMember, MemberDigest, MemberStatus, Members } from './members.ts';
export type { MembershipClient, MembershipWait, NewMember } from './membership.ts';
export type { EndpointStatus } from './no-leader.ts';
export {
  insecureCredentials,
  tlsClientCredentials,
  type CertificatePaths,
  type ClientCredentials,
} from '../wire/index.ts';
export type {
  AppliedItem,
  AuditPiece,
  AuditedDifference,
  ExecutorInfo,
  InitReply,
  MembershipReply,
  ReportInfo,
  SourceInfo,
  StatusReply,
  TaskInfo,
  WindowInfo,
} from '../wire/index.ts';
export { TidemarkError, type ErrorCode } from '../base/index.ts';
