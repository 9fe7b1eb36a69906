/**
 * The stream to one peer. It is dialled when there is something to send or it is to be kept open, and again
 * after a growing pause when it breaks. What waits for it is bounded: the oldest frames go first, since
 * consensus sends anew whatever matters.
 */
import type { ChannelCredentials, ClientWritableStream } from '@grpc/grpc-js';
import {
  LIMITS,
  must,
  type Cancel,
  type Clock,
  type MemberId,
  type TidemarkError,
} from '../../base/index.ts';
import { CHANNEL_OPTIONS, PeerClient, asBuffer, fromServiceError, type PeerFrame } from '../../wire/index.ts';
import type { RaftLogger } from '../types.ts';

/** Links to one address do not share a connection: a snapshot must hold up no heartbeat. */
const OWN_CONNECTION = { ...CHANNEL_OPTIONS, 'grpc.use_local_subchannel_pool': 1 };

export interface PeerLinkParts {
  readonly to: MemberId;
  /** Asked at each dial; undefined: the member is not known. */
  readonly address: () => string | undefined;
  readonly credentials: ChannelCredentials;
  readonly hello: Uint8Array;
  readonly clock: Clock;
  readonly log: RaftLogger;
  readonly onClosed: () => void;
  /** The peer has committed that this member is none any more. */
  readonly onRemoved: () => void;
}

interface Connection {
  readonly client: PeerClient;
  readonly call: ClientWritableStream<PeerFrame>;
  readonly sinceMs: number;
}

export class PeerLink {
  readonly #parts: PeerLinkParts;
  #queue: Uint8Array[] = [];
  #queueBytes = 0;
  #connection: Connection | undefined;
  #draining = false;
  #pauseMs: number = LIMITS.peerRedialMinMs;
  #redial: Cancel | undefined;
  #failing = false;
  #kept = false;
  #closed = false;

  constructor(parts: PeerLinkParts) {
    this.#parts = parts;
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  get queuedBytes(): number {
    return this.#queueBytes;
  }

  send(frame: Uint8Array): void {
    if (this.#closed) return;
    this.#queue.push(frame);
    this.#queueBytes += frame.length;
    while (this.#queue.length > LIMITS.peerQueueFramesMax || this.#queueBytes > LIMITS.peerQueueBytesMax) {
      this.#queueBytes -= must(this.#queue.shift(), 'a queued frame').length;
    }
    if (this.#connection === undefined && this.#redial === undefined) this.#dial();
    else this.#drain();
  }

  /** Dials now, and from now on whenever the stream breaks. */
  keepOpen(): void {
    this.#kept = true;
    if (!this.#closed && this.#connection === undefined && this.#redial === undefined) this.#dial();
  }

  /** Is dialled only when there is something to send. */
  letGo(): void {
    this.#kept = false;
  }

  close(): void {
    this.#closed = true;
    this.#redial?.();
    this.#forget();
  }

  #dial(): void {
    const { to, address, credentials, clock } = this.#parts;
    const target = address();
    if (target === undefined) {
      this.#queue = [];
      this.#queueBytes = 0;
      return;
    }
    const client = new PeerClient(target, credentials, OWN_CONNECTION);
    const call = client.frames((error) => {
      this.#broken(call, error === null ? undefined : fromServiceError(error));
    });
    call.on('error', (error: unknown) => {
      this.#broken(call, fromServiceError(error));
    });
    call.on('drain', () => {
      if (this.#connection?.call !== call) return;
      this.#draining = false;
      this.#drain();
    });
    this.#connection = { client, call, sinceMs: clock.monotonicMs() };
    this.#draining = false;
    if (!this.#failing) this.#parts.log.info({ peer: to, address: target }, 'dialling a peer');
    call.write({ payload: asBuffer(this.#parts.hello) });
    this.#drain();
  }

  #drain(): void {
    const connection = this.#connection;
    if (connection === undefined || this.#draining) return;
    const frames = this.#queue;
    let sent = 0;
    while (sent < frames.length && !this.#draining) {
      const frame = must(frames[sent], 'a queued frame');
      sent++;
      this.#queueBytes -= frame.length;
      this.#draining = !connection.call.write({ payload: asBuffer(frame) });
    }
    this.#queue = sent === frames.length ? [] : frames.slice(sent);
  }

  /** The stream is gone. What waited is old by now; the next frame dials again, after a pause. */
  #broken(call: ClientWritableStream<PeerFrame>, error: TidemarkError | undefined): void {
    const { to, clock, log } = this.#parts;
    const connection = this.#connection;
    if (this.#closed || connection?.call !== call) return;
    const lastedMs = clock.monotonicMs() - connection.sinceMs;
    this.#forget();
    if (lastedMs > LIMITS.peerRedialMaxMs) {
      this.#pauseMs = LIMITS.peerRedialMinMs;
      this.#failing = false;
    }
    if (!this.#failing)
      log.warn({ peer: to, code: error?.code, error: error?.message }, 'the stream to a peer broke');
    this.#failing = true;
    if (error?.code === 'MEMBER_REMOVED') this.#parts.onRemoved();
    const jitter = 0.5 + Math.random() / 2;
    this.#redial = clock.after(this.#pauseMs * jitter, () => {
      this.#redial = undefined;
      if (this.#kept) this.#dial();
    });
    this.#pauseMs = Math.min(this.#pauseMs * 2, LIMITS.peerRedialMaxMs);
    this.#parts.onClosed();
  }

  #forget(): void {
    this.#queue = [];
    this.#queueBytes = 0;
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection === undefined) return;
    connection.call.cancel();
    connection.client.close();
  }
}
