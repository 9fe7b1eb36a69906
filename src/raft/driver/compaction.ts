/**
 * The log loses its beginning once the state that came of it is on disk. It keeps a tail for followers that
 * are slow, and what those that are heard still need of it, both within bounds of entries and of bytes.
 */
import { LIMITS, logIndex, mutated, type LogIndex } from '../../base/index.ts';
import type { LogStart, RaftCore } from '../core/index.ts';
import type { RaftLogger, SnapshotCapability } from '../types.ts';

export interface CompactionPolicy {
  /** What stays, whether anybody needs it or not. */
  readonly keepEntries: number;
  readonly keepBytes: number;
  /** What is forgotten together: one step is due when it reaches either, and has no more entries. */
  readonly stepEntries: number;
  readonly stepBytes: number;
  /** A log that holds so much keeps nothing for followers any more: they get a snapshot. */
  readonly holdEntries: number;
  readonly holdBytes: number;
}

export const DEFAULT_COMPACTION: CompactionPolicy = {
  keepEntries: LIMITS.raftKeepEntries,
  keepBytes: LIMITS.raftKeepBytes,
  stepEntries: LIMITS.raftCompactEntries,
  stepBytes: LIMITS.raftCompactBytes,
  holdEntries: LIMITS.raftHoldEntries,
  holdBytes: LIMITS.raftHoldBytes,
};

export interface LogExtent {
  readonly baseIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly bytes: number;
}

/**
 * Returns up to where the log is to be forgotten now, undefined if no step is due. `needed` are the last
 * entries that followers have: what comes after them is kept. Entries are taken to be of equal size; where
 * they are not, the next steps set it right.
 */
export function compactionTarget(
  policy: CompactionPolicy,
  { baseIndex, lastIndex, appliedIndex, bytes }: LogExtent,
  needed: readonly LogIndex[],
): LogIndex | undefined {
  const entries = lastIndex - baseIndex;
  const entryBytes = Math.max(1, bytes / Math.max(1, entries));
  const kept = Math.min(policy.keepEntries, Math.floor(policy.keepBytes / entryBytes));
  const hasRoom = entries < policy.holdEntries && bytes < policy.holdBytes;
  const held = hasRoom || mutated('raft.heldLogUnbounded') ? needed : [];
  const target = Math.min(appliedIndex - kept, baseIndex + policy.stepEntries, ...held);
  const forgotten = target - baseIndex;
  const many = forgotten >= policy.stepEntries;
  const large = forgotten * entryBytes >= policy.stepBytes && !mutated('raft.compactsByCountOnly');
  return many || large ? logIndex(target) : undefined;
}

export interface CompactionParts {
  readonly core: RaftCore;
  readonly capability: SnapshotCapability;
  readonly policy: CompactionPolicy;
  readonly log: RaftLogger;
  readonly appliedIndex: () => LogIndex;
  readonly logBytes: () => number;
  /** Resolves when the log on disk has forgotten it: then `logBytes` is what is left. */
  readonly compact: (start: LogStart) => Promise<void>;
  readonly onFatal: (error: unknown) => void;
}

export class Compaction {
  readonly #parts: CompactionParts;
  #underWay: Promise<void> | undefined;
  #stopped = false;

  constructor(parts: CompactionParts) {
    this.#parts = parts;
  }

  /** Begins a step if one is due; to be called with what followers have, now and then. */
  consider(needed: readonly LogIndex[]): void {
    if (this.#underWay !== undefined || this.#stopped) return;
    const { core, policy, appliedIndex, logBytes } = this.#parts;
    const { baseIndex, lastIndex } = core;
    const extent = { baseIndex, lastIndex, appliedIndex: appliedIndex(), bytes: logBytes() };
    const target = compactionTarget(policy, extent, needed);
    if (target !== undefined) this.#underWay = this.#compact(target);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#underWay;
  }

  async #compact(target: LogIndex): Promise<void> {
    const { core, capability, compact, onFatal, log } = this.#parts;
    try {
      const durable = mutated('raft.compactBeforeFlush') ? target : await capability.flush();
      const index = logIndex(Math.min(target, durable));
      const term = core.termAt(index);
      if (!this.#stopped && term !== undefined && index > core.baseIndex) {
        log.info({ index }, 'the log is compacted');
        await compact({ index, term, configuration: core.configurationAt(index) });
      }
    } catch (error) {
      onFatal(error);
    } finally {
      this.#underWay = undefined;
    }
  }
}
