/** What every fault works with. */
import type { FailpointHit } from '../../base/index.ts';
import type { SqlEngine } from '../../sql/index.ts';
import type { ExecutorInfo, SourceInfo } from '../../wire/index.ts';
import type { Child } from '../child.ts';
import type { LocalCluster } from '../cluster.ts';
import type { Random } from '../sample/index.ts';
import type { ChaosCounts } from './counts.ts';
import type { EventLog } from './event-log.ts';

export interface ChildHit {
  readonly child: Child;
  readonly hit: FailpointHit;
}

export interface ChildRecord {
  readonly child: Child;
  readonly record: Readonly<Record<string, unknown>>;
}

/** What the driver asks the cluster, through the client. */
export interface ClusterQuestions {
  sources(): Promise<readonly SourceInfo[]>;
  executors(): Promise<readonly ExecutorInfo[]>;
}

export interface ChaosContext {
  readonly cluster: LocalCluster;
  readonly ask: ClusterQuestions;
  readonly hits: EventLog<ChildHit>;
  readonly records: EventLog<ChildRecord>;
  readonly reports: SqlEngine;
  readonly store: SqlEngine;
  readonly random: Random;
  readonly counts: ChaosCounts;
  /** Milliseconds from each leader kill until a change was committed again. */
  readonly writesResumedMs: number[];
  readonly say: (line: string) => void;
  /** Aborted when no new round is to begin. */
  readonly signal: AbortSignal;
  /** Aborted when not even what is missing is to be tried any more: somebody pressed Ctrl-C. */
  readonly interrupted: AbortSignal;
}
