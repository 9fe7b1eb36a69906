/**
 * Compaction and snapshots of one member: the log loses its beginning once the state that came of it is on
 * disk, and a follower that needs the beginning gets the state instead.
 */
import { LIMITS, logIndex, mutated, type LogIndex, type MemberId, type Term } from '../../base/index.ts';
import type { LogStart, RaftCore, SnapshotRequest, StreamedMessage } from '../core/index.ts';
import type { Configuration, PreparedState, RaftLogger, SnapshotCapability } from '../types.ts';
import type { SnapshotChunk, SnapshotReply } from '../core/index.ts';
import { SnapshotPace } from './snapshot-pace.ts';
import { SnapshotReceiver } from './snapshot-receiver.ts';
import { SnapshotRounds } from './snapshot-rounds.ts';
import { SnapshotSender } from './snapshot-sender.ts';

export interface CompactionPolicy {
  /** Entries that stay for followers that are slow, and what they may weigh. */
  readonly keepEntries: number;
  readonly keepBytes: number;
  /** Entries that are forgotten together; fewer if they weigh half of what may be kept. */
  readonly stepEntries: number;
}

/** Whoever has said nothing for so long may come back to a log that begins after it. */
const SILENT_TICKS = 4 * LIMITS.raftElectionTicks;

export const DEFAULT_COMPACTION: CompactionPolicy = {
  keepEntries: LIMITS.raftKeepEntries,
  keepBytes: LIMITS.raftKeepBytes,
  stepEntries: LIMITS.raftCompactEntries,
};

export interface SnapshotsParts {
  readonly core: RaftCore;
  readonly capability: SnapshotCapability;
  readonly policy: CompactionPolicy;
  readonly log: RaftLogger;
  readonly appliedIndex: () => LogIndex;
  readonly logBytes: () => number;
  readonly send: (to: MemberId, message: SnapshotChunk | SnapshotReply) => void;
  readonly compact: (start: LogStart) => void;
  readonly install: (prepared: PreparedState, configuration: Configuration) => Promise<void>;
  readonly onFatal: (error: unknown) => void;
}

export class Snapshots {
  readonly #parts: SnapshotsParts;
  readonly #senders = new Map<MemberId, SnapshotSender>();
  readonly #pace = new SnapshotPace();
  readonly #receiver: SnapshotReceiver;
  readonly #rounds: SnapshotRounds;
  /** Followers that have a new state, and not yet the log that follows. */
  #catchingUp: Set<MemberId> = new Set();
  #streams = 0;
  #compacting: Promise<void> | undefined;
  #stopped = false;

  constructor(parts: SnapshotsParts) {
    this.#parts = parts;
    const { capability, log, install } = parts;
    this.#rounds = new SnapshotRounds(log);
    this.#receiver = new SnapshotReceiver({
      prepare: (chunks) => capability.prepare(chunks),
      install,
      onRefused: (error) => {
        log.warn({ error: String(error) }, 'a snapshot was not usable');
      },
      onFatal: parts.onFatal,
    });
  }

  /** How many snapshots this follower was sent since it last had all that there was. */
  inARow(to: MemberId): number {
    return this.#rounds.of(to);
  }

  /** A follower needs a snapshot; the one that is on its way may do. */
  request({ to, term, match }: SnapshotRequest): void {
    const known = this.#senders.get(to);
    if (known !== undefined && !known.lost && (known.lastIndex ?? Infinity) > match) return;
    this.#begin(to, term);
  }

  onStreamed({ from, message }: StreamedMessage): void {
    if (message.type === 'snapshot-chunk') {
      const { term, stream } = message;
      this.#receiver.take(from, message, (offset) => {
        if (!this.#stopped) this.#parts.send(from, { type: 'snapshot-reply', term, stream, offset });
      });
      return;
    }
    const sender = this.#senders.get(from);
    if (sender?.stream !== message.stream) return;
    sender.onReply(message.offset);
    if (sender.lost) this.#begin(from, message.term);
  }

  tick(): void {
    this.#pace.tick();
    for (const sender of this.#senders.values()) {
      if (this.#parts.core.needsSnapshot(sender.to)) {
        sender.tick();
        continue;
      }
      this.#end(sender);
      this.#catchingUp.add(sender.to);
    }
    this.#rounds.follow(this.#parts.core.followers);
    this.#watchCatchingUp();
    this.#considerCompaction();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#receiver.stop();
    for (const sender of this.#senders.values()) this.#end(sender);
    await this.#compacting;
  }

  #begin(to: MemberId, term: Term): void {
    const { core, capability, send, onFatal } = this.#parts;
    const known = this.#senders.get(to);
    if (known !== undefined) this.#end(known);
    this.#streams++;
    this.#rounds.begin(to, this.#streams, core.lastIndex);
    const sender = new SnapshotSender({
      to,
      term,
      stream: this.#streams,
      pace: this.#pace,
      open: () => capability.read(),
      configurationAt: (index) => core.configurationAt(index),
      send: (message) => {
        send(to, message);
      },
      onFatal,
    });
    this.#senders.set(to, sender);
  }

  #end(sender: SnapshotSender): void {
    this.#senders.delete(sender.to);
    sender.stop().catch(this.#parts.onFatal);
  }

  #considerCompaction(): void {
    if (this.#compacting !== undefined || this.#stopped) return;
    const target = this.#target();
    if (this.#isWorthIt(target - this.#parts.core.baseIndex)) this.#compacting = this.#compact(target);
  }

  /** Entries of a MiB each would fill the disk long before there are many of them. */
  #isWorthIt(forgotten: number): boolean {
    const { core, policy, logBytes } = this.#parts;
    if (forgotten >= policy.stepEntries) return true;
    const share = forgotten / Math.max(1, core.lastIndex - core.baseIndex);
    return share * logBytes() >= policy.keepBytes / 2 && !mutated('raft.compactsByCountOnly');
  }

  #target(): number {
    const { core, policy, appliedIndex, logBytes } = this.#parts;
    const entries = core.lastIndex - core.baseIndex;
    const fits = Math.floor(entries * Math.min(1, policy.keepBytes / Math.max(1, logBytes())));
    let target = appliedIndex() - Math.min(policy.keepEntries, fits);
    const hasRoom = entries < LIMITS.raftLogEntriesMax / 2 && logBytes() < LIMITS.raftLogBytesMax / 2;
    if (hasRoom) for (const index of this.#inUse()) target = Math.min(target, index);
    return Math.min(target, core.baseIndex + policy.stepEntries);
  }

  /**
   * Where snapshots end that are under way, and where followers stand that got one: what comes after is not
   * forgotten. A follower with a new state has a long way to catch up while writes go on: without that part
   * of the log it would need another snapshot, and so for ever.
   */
  *#inUse(): IterableIterator<LogIndex> {
    for (const { lastIndex } of this.#senders.values()) yield lastIndex ?? logIndex(0);
    if (mutated('raft.compactsBeforeFollowers')) return;
    for (const { id, match } of this.#parts.core.followers) if (this.#catchingUp.has(id)) yield match;
  }

  /** Forgets who has caught up, or is not heard any more. */
  #watchCatchingUp(): void {
    if (this.#catchingUp.size === 0) return;
    const { core, policy } = this.#parts;
    const far = (match: LogIndex): boolean => core.lastIndex - match > policy.keepEntries / 2;
    const still = core.followers.filter(({ id, state, match, silentTicks }) => {
      return this.#catchingUp.has(id) && state !== 'snapshot' && silentTicks < SILENT_TICKS && far(match);
    });
    this.#catchingUp = new Set(still.map(({ id }) => id));
  }

  async #compact(target: number): Promise<void> {
    const { core, capability, compact, onFatal, log } = this.#parts;
    try {
      const durable = mutated('raft.compactBeforeFlush') ? target : await capability.flush();
      const index = logIndex(Math.min(target, durable));
      const term = core.termAt(index);
      if (!this.#stopped && term !== undefined && index > core.baseIndex) {
        log.info({ index }, 'the log is compacted');
        compact({ index, term, configuration: core.configurationAt(index) });
      }
    } catch (error) {
      onFatal(error);
    } finally {
      this.#compacting = undefined;
    }
  }
}
