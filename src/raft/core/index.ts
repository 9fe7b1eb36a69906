/** The pure core of consensus: inputs in, effects out. */
export { RaftCore, type FollowerView } from './raft-core.ts';
export type {
  ConfirmedRead,
  Effects,
  HardState,
  Input,
  LoadRequest,
  Persist,
  SnapshotRequest,
  StreamedMessage,
} from './io.ts';
export type {
  Append,
  AppendReply,
  DurableMessage,
  Envelope,
  Heartbeat,
  HeartbeatReply,
  ImmediateMessage,
  Message,
  PreVote,
  PreVoteReply,
  ReadAnswer,
  ReadRequest,
  SnapshotChunk,
  SnapshotReply,
  TimeoutNow,
  Vote,
  VoteReply,
} from './messages.ts';
export { LogView, type SliceLimit } from './log-view.ts';
export { EMPTY_BASE, TermRuns, type LogBase } from './term-runs.ts';
export type { InflightLimit } from './progress.ts';
export { Configurations, type LogStart } from './configurations.ts';
export type { CoreConfig, CoreStart } from './state.ts';
