/** What an executor and its leader agree on, and what the session is given and keeps. */
import type { ChannelCredentials } from '@grpc/grpc-js';
import { LIMITS, type Clock } from '../../base/index.ts';
import type { ExecutorHello, ExecutorWelcome, TaskProgress, ToExecutor } from '../../wire/index.ts';

/** Everything a leader says after its welcome. */
export type Incoming = Exclude<
  NonNullable<ToExecutor['body']>,
  { $case: 'welcome' } | { $case: 'redirect' } | { $case: 'heartbeatReply' }
>;

export interface SessionHandlers {
  /** What this executor works on and hosts now, for the hello and for heartbeats. */
  hello(): Pick<ExecutorHello, 'runningTasks' | 'collectors'>;
  progress(): TaskProgress[];
  /** A leader has accepted this executor: what it must know is told now. */
  onWelcome(welcome: ExecutorWelcome): void;
  onMessage(message: Incoming): void;
}

export interface SessionLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

export interface SessionOptions {
  readonly coordinators: readonly string[];
  readonly channelCredentials: ChannelCredentials;
  readonly name: string;
  readonly incarnation: string;
  readonly slots: number;
  readonly version: string;
  readonly engines: readonly string[];
  readonly clock: Clock;
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: SessionLog;
  readonly handlers: SessionHandlers;
}

/** What the session knows of the cluster; survives every stream. */
export interface ClusterKnowledge {
  /** Empty before the first welcome. */
  clusterId: string;
  /** The highest leader term obeyed; a lower one is refused from then on. */
  leaderTerm: bigint;
}

/** A coordinator that has not answered a hello after this long is left. */
export const HELLO_TIMEOUT_MS = LIMITS.executorSessionMs;
