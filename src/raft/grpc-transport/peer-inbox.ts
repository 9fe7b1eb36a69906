/**
 * The accepting side: one stream per peer and lane, read only after its hello was checked; a newer one
 * replaces it.
 */
import type { ServerReadableStream, sendUnaryData } from '@grpc/grpc-js';
import { LIMITS, TidemarkError, isTidemarkError, mutated, type MemberId } from '../../base/index.ts';
import { toServiceError } from '../../wire/index.ts';
import type { PeerCredentials, PeerFrame, PeerFramesEnd } from '../../wire/index.ts';
import type { RaftLogger } from '../types.ts';
import { checkHello, removedPeer, type ExpectedHello, type Lane, type CheckedHello } from './hello.ts';

export type FrameHandler = (from: MemberId, frame: Uint8Array) => void;

export interface PeerInboxParts {
  readonly expected: ExpectedHello;
  readonly credentials: Pick<PeerCredentials, 'checkCaller'>;
  readonly log: RaftLogger;
  /** A peer has opened a stream. */
  readonly onOpened: (hello: CheckedHello) => void;
  readonly onClosed: (from: MemberId) => void;
}

/** Members in two lanes, and as many again that this member has not heard of yet. */
const STREAMS_MAX = 4 * LIMITS.membersMax;

type FrameCall = ServerReadableStream<PeerFrame, PeerFramesEnd>;

interface Greeted {
  readonly from: MemberId;
  readonly key: string;
}

interface Inbound {
  readonly from: MemberId;
  readonly end: (error: TidemarkError) => void;
}

export class PeerInbox {
  readonly #parts: PeerInboxParts;
  readonly #streams = new Map<string, Inbound>();
  #handler: FrameHandler | undefined;
  #closed = false;

  constructor(parts: PeerInboxParts) {
    this.#parts = parts;
  }

  has(from: MemberId): boolean {
    return this.#streams.has(keyOf(from, 'log')) || this.#streams.has(keyOf(from, 'bulk'));
  }

  onFrame(handler: FrameHandler): void {
    this.#handler = handler;
  }

  accept(call: FrameCall, callback: sendUnaryData<PeerFramesEnd>): void {
    let greeted: Greeted | undefined;
    let ended = false;
    const end = (error: TidemarkError | undefined): void => {
      if (ended) return;
      ended = true;
      callback(error === undefined ? null : toServiceError(error), {});
      if (greeted === undefined || this.#streams.get(greeted.key)?.end !== end) return;
      this.#streams.delete(greeted.key);
      this.#parts.onClosed(greeted.from);
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
      if (greeted !== undefined) {
        if (this.#removed(greeted.from)) end(removedPeer(greeted.from));
        else this.#handler?.(greeted.from, frame.payload);
        return;
      }
      try {
        greeted = this.#greet(call, frame.payload, end);
      } catch (error) {
        if (!isTidemarkError(error)) throw error;
        this.#parts.log.warn({ code: error.code, error: error.message }, 'a peer was turned away');
        end(error);
      }
    });
  }

  /** Ends the streams of members that are none any more: a learner sends nothing, and would never be told. */
  endRemoved(): void {
    if (mutated('raft.removedLearnerNotTold')) return;
    for (const { from, end } of [...this.#streams.values()]) if (this.#removed(from)) end(removedPeer(from));
  }

  get isEmpty(): boolean {
    return this.#streams.size === 0;
  }

  close(): void {
    this.#closed = true;
    for (const { end } of [...this.#streams.values()])
      end(new TidemarkError('STOPPING', 'this member is stopping'));
  }

  #greet(call: FrameCall, payload: Uint8Array, end: Inbound['end']): Greeted {
    if (this.#closed) throw new TidemarkError('STOPPING', 'this member is stopping');
    const hello = checkHello(payload, { ...this.#parts.expected, isRemoved: (id) => this.#removed(id) });
    const { from, lane } = hello;
    this.#parts.credentials.checkCaller(call, from);
    const key = keyOf(from, lane);
    this.#streams.get(key)?.end(new TidemarkError('CANCELLED', 'the peer opened a newer stream'));
    if (this.#streams.size >= STREAMS_MAX) throw new TidemarkError('OVERLOADED', 'too many peers');
    this.#streams.set(key, { from, end });
    this.#parts.onOpened(hello);
    return { from, key };
  }

  /** Asked with every frame: its streams end when the first one comes after the removal was committed. */
  #removed(id: MemberId): boolean {
    return this.#parts.expected.isRemoved(id) && !mutated('raft.removedMemberHeard');
  }
}

function keyOf(from: MemberId, lane: Lane): string {
  return `${from}/${lane}`;
}
