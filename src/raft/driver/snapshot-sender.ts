/**
 * Streams one snapshot to one follower, a piece at a time: the next is read when the follower has asked for
 * it and the pace allows it, so that a slow one costs neither memory nor the link, and a fast one does not
 * starve writes. A piece without an answer is sent again; after a break the stream goes on where the follower
 * is.
 */
import { logIndex, type LogIndex, type MemberId, type Term } from '../../base/index.ts';
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
  /** Who belonged to the cluster at an entry that the log still reaches. */
  readonly configurationAt: (index: LogIndex) => Configuration;
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
  #advancing = false;
  #idleTicks = 0;
  #stopped = false;
  #lost = false;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    void this.#run(() => this.#open());
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

  /** The follower has forgotten what it got: only a new stream helps. */
  get lost(): boolean {
    return this.#lost;
  }

  onReply(offset: number): void {
    const piece = this.#underWay;
    if (piece === undefined || this.#advancing) return;
    if (offset === piece.offset + piece.data.length && !piece.end) {
      this.#asked = true;
      this.#goOn();
    } else if (offset < piece.offset) this.#lost = true;
  }

  tick(): void {
    this.#idleTicks++;
    this.#goOn();
    if (this.#underWay === undefined || this.#asked || this.#idleTicks < RESEND_TICKS) return;
    this.#idleTicks = 0;
    this.#parts.send(this.#underWay);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#opened?.chunks.return?.();
  }

  #goOn(): void {
    if (this.#asked && !this.#advancing && this.#parts.pace.open) void this.#run(() => this.#advance());
  }

  async #run(work: () => Promise<void>): Promise<void> {
    this.#advancing = true;
    try {
      await work();
    } catch (error) {
      this.#parts.onFatal(error);
    } finally {
      this.#advancing = false;
    }
  }

  async #open(): Promise<void> {
    const { index, term, chunks: source } = await this.#parts.open();
    const chunks = source[Symbol.asyncIterator]();
    const ahead = await chunks.next();
    const lastIndex = logIndex(index);
    const configuration = this.#parts.configurationAt(lastIndex);
    this.#opened = { lastIndex, lastTerm: term, configuration, chunks, ahead };
    if (this.#stopped) await chunks.return?.();
    else if (this.#parts.pace.open) await this.#advance();
  }

  async #advance(): Promise<void> {
    const opened = this.#opened;
    if (opened === undefined || this.#stopped || opened.ahead.done === true) return;
    const { value: data } = opened.ahead;
    opened.ahead = await opened.chunks.next();
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
