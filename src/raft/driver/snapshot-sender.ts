/**
 * Streams one snapshot to one follower, a piece at a time: the next is read when the follower has asked for
 * it and the pace allows it, so that a slow one costs neither memory nor the link, and a fast one does not
 * starve writes. A piece without an answer is sent again; after a break the stream goes on where the follower
 * is.
 */
import { logIndex, mutated, type LogIndex, type MemberId, type Term } from '../../base/index.ts';
import type { SnapshotChunk } from '../core/index.ts';
import type { Configuration, StateSnapshot } from '../types.ts';
import type { SnapshotPace } from './snapshot-pace.ts';

/** Ticks after which a piece is sent again. */
const RESEND_TICKS = 10;

export interface SenderParts {
  readonly to: MemberId;
  readonly term: Term;
  /** Never twice within a term. */
  readonly stream: number;
  readonly pace: SnapshotPace;
  readonly open: () => Promise<StateSnapshot>;
  /** Who belonged to the cluster at an entry; undefined if the log begins after it. */
  readonly configurationAt: (index: LogIndex) => Configuration | undefined;
  readonly send: (message: SnapshotChunk) => void;
  readonly onFatal: (error: unknown) => void;
}

interface Opened {
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly configuration: Configuration;
  readonly chunks: AsyncIterator<Uint8Array>;
  ahead: IteratorResult<Uint8Array>;
}

export class SnapshotSender {
  readonly #parts: SenderParts;
  #opened: Opened | undefined;
  #underWay: SnapshotChunk | undefined;
  /** The follower has what was sent: it waits for the next piece. */
  #asked = true;
  /** The state is being read; never rejects. */
  #reading: Promise<void> | undefined;
  #idleTicks = 0;
  #stopped = false;
  #lost = false;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    this.#run(() => this.#open());
  }

  get to(): MemberId {
    return this.#parts.to;
  }

  get stream(): number {
    return this.#parts.stream;
  }

  /** The last entry that the snapshot holds; undefined until it is open. */
  get lastIndex(): LogIndex | undefined {
    return this.#opened?.lastIndex;
  }

  /** Whether it still brings a follower that has `match` what it needs from the leader of `term`. */
  serves(term: Term, match: LogIndex): boolean {
    const ofTerm = this.#parts.term === term || mutated('raft.snapshotOfOtherTerm');
    return ofTerm && !this.#lost && (this.lastIndex ?? Infinity) > match;
  }

  onReply(offset: number): void {
    const piece = this.#underWay;
    if (piece === undefined || this.#reading !== undefined) return;
    if (offset === piece.offset + piece.data.length && !piece.end) {
      this.#asked = true;
      this.#goOn();
    } else if (offset < piece.offset) {
      // The follower has forgotten what it got: only a new stream helps.
      this.#lost = true;
    }
  }

  tick(): void {
    this.#idleTicks++;
    this.#goOn();
    if (this.#underWay === undefined || this.#asked || this.#idleTicks < RESEND_TICKS) return;
    this.#idleTicks = 0;
    this.#parts.send(this.#underWay);
  }

  /** Resolves when nothing is read any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#reading;
    this.#run(async () => {
      await this.#opened?.chunks.return?.();
    });
    await this.#reading;
  }

  #goOn(): void {
    const may = this.#asked && this.#reading === undefined && this.#parts.pace.open;
    if (may) this.#run(() => this.#advance());
  }

  #run(work: () => Promise<void>): void {
    this.#reading = this.#guard(work);
  }

  async #guard(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      // Whoever stops us may close what is read. A state that is damaged is found by its scrub.
      if (!this.#stopped) this.#parts.onFatal(error);
    } finally {
      this.#reading = undefined;
    }
  }

  async #open(): Promise<void> {
    const { index, term, chunks: source } = await this.#parts.open();
    const chunks = source[Symbol.asyncIterator]();
    const ahead = await chunks.next();
    const lastIndex = logIndex(index);
    const configuration = this.#parts.configurationAt(lastIndex);
    if (configuration === undefined) {
      // The log was compacted past it meanwhile: nothing could follow this snapshot.
      this.#lost = true;
      await chunks.return?.();
      return;
    }
    this.#opened = { lastIndex, lastTerm: term, configuration, chunks, ahead };
    if (this.#parts.pace.open) await this.#advance();
  }

  async #advance(): Promise<void> {
    const opened = this.#opened;
    if (opened === undefined || opened.ahead.done === true) return;
    const { value: data } = opened.ahead;
    opened.ahead = await opened.chunks.next();
    if (this.#stopped) return;
    const before = this.#underWay;
    this.#underWay = {
      type: 'snapshot-chunk',
      term: this.#parts.term,
      stream: this.#parts.stream,
      lastIndex: opened.lastIndex,
      lastTerm: opened.lastTerm,
      configuration: opened.configuration,
      offset: before === undefined ? 0 : before.offset + before.data.length,
      end: opened.ahead.done === true,
      data,
    };
    this.#asked = false;
    this.#idleTicks = 0;
    this.#parts.pace.sent(data.length);
    this.#parts.send(this.#underWay);
  }
}
