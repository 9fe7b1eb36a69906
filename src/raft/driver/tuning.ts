/** Sizes that the simulator makes small, so that short runs reach what only long logs reach otherwise. */
import { LIMITS } from '../../base/index.ts';
import type { InflightLimit, SliceLimit } from '../core/index.ts';
import type { CompactionPolicy } from './compaction.ts';

export interface DriverTuning {
  readonly appendLimit: SliceLimit;
  /** @default the limits of base */
  readonly inflightLimit?: InflightLimit;
  readonly tailBytes: number;
  /** @default the limits of base */
  readonly compaction?: CompactionPolicy;
}

export const INFLIGHT_LIMIT: InflightLimit = {
  appends: LIMITS.raftInflightAppendsMax,
  bytes: LIMITS.raftInflightBytesMax,
};

export const DEFAULT_TUNING: DriverTuning = {
  appendLimit: { entries: LIMITS.raftAppendEntriesMax, bytes: LIMITS.raftAppendBytesMax },
  tailBytes: LIMITS.raftTailBytesMax,
};
