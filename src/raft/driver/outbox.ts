/** Gathers a turn's messages and sends each peer as few frames as their bound allows. */
import { LIMITS, type MemberId } from '../../base/index.ts';
import type { Envelope, Message } from '../core/index.ts';
import { encodeFrame } from '../peer-codec.ts';
import type { PeerTransport } from '../types.ts';

const MESSAGE_BYTES = 64;
const ENTRY_OVERHEAD_BYTES = 5;
const FRAME_BYTES = LIMITS.peerFrameBytesMax - 64 * 1024;

interface Frame {
  readonly to: MemberId;
  readonly messages: Message[];
  bytes: number;
}

export class Outbox {
  readonly #transport: PeerTransport;
  #frames: Frame[] = [];

  constructor(transport: PeerTransport) {
    this.#transport = transport;
  }

  add(envelopes: readonly Envelope<Message>[]): void {
    for (const { to, message } of envelopes) {
      const bytes = sizeOf(message);
      const open = this.#frames.findLast((frame) => frame.to === to);
      if (open !== undefined && open.bytes + bytes <= FRAME_BYTES) {
        open.messages.push(message);
        open.bytes += bytes;
      } else {
        this.#frames.push({ to, messages: [message], bytes });
      }
    }
  }

  flush(): void {
    if (this.#frames.length === 0) return;
    const frames = this.#frames;
    this.#frames = [];
    let last: { readonly messages: readonly Message[]; readonly bytes: Uint8Array } | undefined;
    for (const { to, messages } of frames) {
      const bytes = last !== undefined && same(last.messages, messages) ? last.bytes : encodeFrame(messages);
      last = { messages, bytes };
      this.#transport.send(to, bytes);
    }
  }
}

/** Followers that stand at the same place are sent the very same message. */
function same(left: readonly Message[], right: readonly Message[]): boolean {
  return left.length === right.length && left.every((message, at) => message === right[at]);
}

function sizeOf(message: Message): number {
  let bytes = MESSAGE_BYTES;
  if (message.type !== 'append') return bytes;
  for (const entry of message.entries) bytes += entry.record.length + ENTRY_OVERHEAD_BYTES;
  return bytes;
}
