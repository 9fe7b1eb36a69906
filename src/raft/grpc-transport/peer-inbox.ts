/**
 * The accepting side: one stream per peer, read only after its hello was checked; a newer one replaces it.
 */
import type { ServerReadableStream, sendUnaryData } from '@grpc/grpc-js';
import { TidemarkError, isTidemarkError, type MemberId } from '../../base/index.ts';
import { toServiceError, type PeerFrame, type PeerFramesEnd } from '../../wire/index.ts';
import type { RaftLogger } from '../types.ts';
import { checkHello, type ExpectedHello } from './hello.ts';

export type FrameHandler = (from: MemberId, frame: Uint8Array) => void;

interface Inbound {
  readonly end: (error: TidemarkError) => void;
}

export class PeerInbox {
  readonly #expected: ExpectedHello;
  readonly #log: RaftLogger;
  readonly #onClosed: (from: MemberId) => void;
  readonly #streams = new Map<MemberId, Inbound>();
  #handler: FrameHandler | undefined;
  #closed = false;

  constructor(expected: ExpectedHello, log: RaftLogger, onClosed: (from: MemberId) => void) {
    this.#expected = expected;
    this.#log = log;
    this.#onClosed = onClosed;
  }

  has(from: MemberId): boolean {
    return this.#streams.has(from);
  }

  onFrame(handler: FrameHandler): void {
    this.#handler = handler;
  }

  accept(call: ServerReadableStream<PeerFrame, PeerFramesEnd>, callback: sendUnaryData<PeerFramesEnd>): void {
    let from: MemberId | undefined;
    let ended = false;
    const end = (error: TidemarkError | undefined): void => {
      if (ended) return;
      ended = true;
      callback(error === undefined ? null : toServiceError(error), {});
      if (from === undefined || this.#streams.get(from)?.end !== end) return;
      this.#streams.delete(from);
      this.#onClosed(from);
    };
    call.on('error', () => {
      end(new TidemarkError('CANCELLED', 'the stream failed'));
    });
    call.on('cancelled', () => {
      end(new TidemarkError('CANCELLED', 'the peer dropped the stream'));
    });
    call.on('end', () => {
      end(undefined);
    });
    call.on('data', (frame: PeerFrame) => {
      if (ended) return;
      if (from !== undefined) {
        this.#handler?.(from, frame.payload);
        return;
      }
      try {
        from = this.#greet(frame.payload, end);
      } catch (error) {
        if (!isTidemarkError(error)) throw error;
        this.#log.warn({ code: error.code, error: error.message }, 'a peer was turned away');
        end(error);
      }
    });
  }

  close(): void {
    this.#closed = true;
    for (const { end } of [...this.#streams.values()])
      end(new TidemarkError('STOPPING', 'this member is stopping'));
  }

  #greet(payload: Uint8Array, end: Inbound['end']): MemberId {
    if (this.#closed) throw new TidemarkError('STOPPING', 'this member is stopping');
    const from = checkHello(payload, this.#expected);
    this.#streams.get(from)?.end(new TidemarkError('CANCELLED', 'the peer opened a newer stream'));
    this.#streams.set(from, { end });
    return from;
  }
}
