/**
 * Snapshots between members: a follower that needs of the log what is forgotten gets the state instead. Who
 * needs one is looked up in the core at every tick, so that nothing that happened in between is missed.
 */
import { LIMITS, mutated, type LogIndex, type MemberId } from '../../base/index.ts';
import type { FollowerView, RaftCore, SnapshotRequest, StreamedMessage } from '../core/index.ts';
import type { Configuration, PreparedState, RaftLogger, SnapshotCapability } from '../types.ts';
import type { SnapshotChunk, SnapshotReply } from '../core/index.ts';
import type { Compaction } from './compaction.ts';
import { SnapshotPace } from './snapshot-pace.ts';
import { SnapshotReceiver } from './snapshot-receiver.ts';
import { SnapshotRounds } from './snapshot-rounds.ts';
import { SnapshotSender } from './snapshot-sender.ts';

/** Whoever was not heard for so long is not waited for: neither a snapshot nor the log is kept for it. */
const GONE_TICKS = 20 * LIMITS.raftElectionTicks;

export interface SnapshotsParts {
  readonly core: RaftCore;
  readonly capability: SnapshotCapability;
  readonly compaction: Compaction;
  readonly log: RaftLogger;
  readonly send: (to: MemberId, message: SnapshotChunk | SnapshotReply) => void;
  readonly install: (prepared: PreparedState, configuration: Configuration) => Promise<void>;
  readonly onFatal: (error: unknown) => void;
}

export class Snapshots {
  readonly #parts: SnapshotsParts;
  readonly #senders = new Map<MemberId, SnapshotSender>();
  readonly #pace = new SnapshotPace();
  readonly #receiver: SnapshotReceiver;
  readonly #rounds: SnapshotRounds;
  /** Senders that were stopped and are still reading. */
  readonly #ending = new Set<Promise<void>>();
  #streams = 0;
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

  request({ to, match }: SnapshotRequest): void {
    this.#serve(to, match);
  }

  onStreamed({ from, message }: StreamedMessage): void {
    if (message.type === 'snapshot-chunk') {
      const { term, stream } = message;
      this.#receiver.take(from, message, (offset, refused) => {
        if (!this.#stopped) this.#parts.send(from, { type: 'snapshot-reply', term, stream, offset, refused });
      });
      return;
    }
    const sender = this.#senders.get(from);
    if (sender?.stream !== message.stream) return;
    if (message.refused === undefined) {
      sender.onReply(message.offset);
      return;
    }
    this.#end(sender);
    this.#rounds.refused(from, message.refused);
  }

  tick(): void {
    this.#pace.tick();
    const waiting = this.#heard().filter(({ state }) => state === 'snapshot');
    for (const sender of this.#senders.values()) {
      if (waiting.some(({ id }) => id === sender.to)) sender.tick();
      else this.#end(sender);
    }
    for (const { id, snapshotAfter } of waiting) this.#serve(id, snapshotAfter);
    this.#rounds.follow(this.#parts.core.followers);
    this.#parts.compaction.consider(this.#needed());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const received = this.#receiver.stop();
    for (const sender of this.#senders.values()) this.#end(sender);
    await Promise.all([received, ...this.#ending, this.#parts.compaction.stop()]);
  }

  /**
   * The last entries that followers have who go on from there with the log: what they have acknowledged, or
   * what the snapshot holds that they are being sent. While that is not known, where the log begins.
   */
  #needed(): readonly LogIndex[] {
    if (mutated('raft.compactsBeforeFollowers')) return [];
    const { baseIndex } = this.#parts.core;
    const known = this.#heard().flatMap(({ id, state, match }) => {
      if (state === 'replicate') return [match];
      const sender = this.#senders.get(id);
      return state === 'snapshot' && sender === undefined ? [] : [sender?.lastIndex ?? baseIndex];
    });
    // Whoever stands before the log's beginning needs a snapshot, whatever is kept.
    return known.filter((index) => index >= baseIndex);
  }

  #heard(): readonly FollowerView[] {
    const { followers } = this.#parts.core;
    if (mutated('raft.silentFollowersHold')) return followers;
    return followers.filter(({ silentTicks }) => silentTicks < GONE_TICKS);
  }

  /** A follower needs a snapshot that holds more than `match`; the one that is on its way may do. */
  #serve(to: MemberId, match: LogIndex): void {
    const known = this.#senders.get(to);
    if (known?.serves(this.#parts.core.term, match) === true) return;
    if (known !== undefined) this.#end(known);
    if (this.#rounds.isDue(to)) this.#begin(to);
  }

  #begin(to: MemberId): void {
    const { core, capability, send, onFatal } = this.#parts;
    this.#streams++;
    this.#rounds.begin(to, this.#streams, core.lastIndex);
    const sender = new SnapshotSender({
      to,
      term: core.term,
      stream: this.#streams,
      pace: this.#pace,
      open: () => capability.read(),
      configurationAt: (index) => (index < core.baseIndex ? undefined : core.configurationAt(index)),
      send: (message) => {
        send(to, message);
      },
      onFatal,
    });
    this.#senders.set(to, sender);
  }

  #end(sender: SnapshotSender): void {
    this.#senders.delete(sender.to);
    const ended = sender.stop().finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }
}
