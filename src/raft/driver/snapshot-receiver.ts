/**
 * Takes the pieces of a snapshot in order and feeds them to the state machine, which makes a new state of
 * them beside its own. A piece of another stream begins anew; nothing of two streams ever mixes.
 */
import {
  LIMITS,
  TidemarkError,
  isTidemarkError,
  mutated,
  type ErrorCode,
  type MemberId,
  type Term,
} from '../../base/index.ts';
import type { SnapshotChunk } from '../core/index.ts';
import type { Configuration, PreparedState } from '../types.ts';

export interface ReceiverParts {
  readonly prepare: (chunks: AsyncIterable<Uint8Array>) => Promise<PreparedState>;
  /** A snapshot is complete and checked. Until it settles no other stream is taken. */
  readonly install: (prepared: PreparedState, configuration: Configuration) => Promise<void>;
  /** What arrived cannot be used; the leader will begin anew. */
  readonly onRefused: (error: unknown) => void;
  /** The disk failed, or we made a mistake: what is in the state's database is not known any more. */
  readonly onFatal: (error: unknown) => void;
}

interface Stream {
  readonly from: MemberId;
  readonly term: Term;
  readonly stream: number;
}

interface Incoming extends Stream {
  readonly configuration: Configuration;
  readonly pieces: Pieces;
  offset: number;
}

export class SnapshotReceiver {
  readonly #parts: ReceiverParts;
  #incoming: Incoming | undefined;
  #installing = false;
  /** The last stream that could not be used. */
  #refused: (Stream & { readonly code: ErrorCode }) | undefined;
  /** What is being read or installed; none of it rejects. */
  readonly #works = new Set<Promise<void>>();

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
  }

  /**
   * Answers where the piece belongs that is wanted next: at once, or when those that wait for the disk are
   * few enough. Or that nothing more is wanted of this stream, and why.
   */
  take(from: MemberId, piece: SnapshotChunk, answer: (offset: number, refused?: ErrorCode) => void): void {
    const refused = this.#refused;
    if (refused !== undefined && isOf(refused, from, piece)) {
      answer(0, refused.code);
      return;
    }
    const incoming = this.#streamOf(from, piece);
    if (incoming === undefined) {
      answer(0);
      return;
    }
    if (incoming.offset === piece.offset) {
      incoming.offset += piece.data.length;
      incoming.pieces.push(piece.data);
      if (piece.end) incoming.pieces.end();
    }
    const { offset } = incoming;
    incoming.pieces.whenShort(() => {
      answer(offset);
    });
  }

  /** Resolves when the state is not touched any more. */
  async stop(): Promise<void> {
    this.#incoming?.pieces.fail(abandoned());
    this.#incoming = undefined;
    await Promise.all(this.#works);
  }

  #streamOf(from: MemberId, piece: SnapshotChunk): Incoming | undefined {
    const known = this.#incoming;
    if (known !== undefined && isOf(known, from, piece)) return known;
    if (this.#installing || piece.offset !== 0) return undefined;
    known?.pieces.fail(abandoned());
    const { term, stream, configuration } = piece;
    const begun: Incoming = { from, term, stream, configuration, pieces: new Pieces(), offset: 0 };
    this.#incoming = begun;
    const work = this.#prepare(begun).finally(() => this.#works.delete(work));
    this.#works.add(work);
    return begun;
  }

  async #prepare(incoming: Incoming): Promise<void> {
    let prepared: PreparedState;
    try {
      prepared = await this.#parts.prepare(incoming.pieces);
    } catch (error) {
      if (isRefusal(error)) this.#refuse(incoming, error);
      else if (!mutated('raft.failedInstallIgnored')) this.#parts.onFatal(error);
      return;
    }
    if (this.#incoming !== incoming) return;
    this.#installing = true;
    await this.#parts.install(prepared, incoming.configuration);
    this.#installing = false;
    this.#incoming = undefined;
  }

  #refuse(incoming: Incoming, error: TidemarkError): void {
    if (this.#incoming !== incoming) return;
    const { from, term, stream } = incoming;
    this.#refused = { from, term, stream, code: error.code };
    this.#incoming = undefined;
    this.#parts.onRefused(error);
  }
}

function isOf(known: Stream, from: MemberId, { term, stream }: SnapshotChunk): boolean {
  return known.from === from && known.term === term && known.stream === stream;
}

/** Pieces that come when they come, as a stream to be read. */
class Pieces implements AsyncIterable<Uint8Array> {
  readonly #waiting: Uint8Array[] = [];
  #ended = false;
  #error: TidemarkError | undefined;
  #wake: (() => void) | undefined;
  #onShort: (() => void) | undefined;

  /** Calls back once the pieces that wait are few; only the last caller is called. */
  whenShort(callback: () => void): void {
    if (this.#isShort) callback();
    else this.#onShort = callback;
  }

  get #isShort(): boolean {
    return this.#waiting.length <= LIMITS.snapshotPiecesWaitingMax || mutated('raft.snapshotNotPaced');
  }

  push(piece: Uint8Array): void {
    this.#waiting.push(piece);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  fail(error: TidemarkError): void {
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const piece = this.#waiting.shift();
      if (this.#isShort) {
        this.#onShort?.();
        this.#onShort = undefined;
      }
      if (piece !== undefined) yield piece;
      else if (this.#ended) return;
      else await this.#more();
    }
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

function abandoned(): TidemarkError {
  return new TidemarkError('CANCELLED', 'another snapshot is streamed');
}

/** What is wrong with a stream, or ended it. */
function isRefusal(error: unknown): error is TidemarkError {
  return isTidemarkError(error, 'CANCELLED', 'DATA_CORRUPT', 'DATA_OF_OTHER_CLUSTER', 'FORMAT_UNKNOWN');
}
