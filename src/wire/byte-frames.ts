/**
 * The two hot streams carry messages of a single `bytes` field. Here such a message is written with one copy
 * of its bytes and read with none; the generated code makes two of each. The bytes on the wire are the same,
 * and whatever looks different is left to the generated code.
 */
import { makeGenericClientConstructor } from '@grpc/grpc-js';
import { KeyValueFrame, KeyValueService as GeneratedKeyValueService } from './tidemark/v1/keyvalue.ts';
import {
  PeerFrame,
  PeerService as GeneratedPeerService,
  type PeerClient as GeneratedPeerClient,
} from './tidemark/v1/peer.ts';

/** Field 1, length-delimited. */
const TAG = 0x0a;

/** Writes a message whose only field, the first, is `payload`. */
export function encodeByteFrame({ payload }: { readonly payload: Uint8Array }): Buffer {
  let rest = payload.length;
  if (rest === 0) return Buffer.alloc(0);
  let head = 2;
  for (let size = rest; size > 0x7f; size >>>= 7) head++;
  const frame = Buffer.allocUnsafe(head + rest);
  frame.set(payload, head);
  let at = 0;
  frame[at++] = TAG;
  for (; rest > 0x7f; rest >>>= 7) frame[at++] = (rest & 0x7f) | 0x80;
  frame[at] = rest;
  return frame;
}

/** Returns the payload as a view, or undefined if the message is made of anything else. */
export function decodeByteFrame(frame: Buffer): { payload: Buffer } | undefined {
  if (frame[0] !== TAG) return undefined;
  let length = 0;
  for (let at = 1; at <= 4; at++) {
    const byte = frame[at];
    if (byte === undefined) return undefined;
    length |= (byte & 0x7f) << (7 * (at - 1));
    if (byte > 0x7f) continue;
    return at + 1 + length === frame.length ? { payload: frame.subarray(at + 1) } : undefined;
  }
  return undefined;
}

/** Views bytes as the type that the generated code asks for. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const keyValueFrame = (frame: Buffer): KeyValueFrame => decodeByteFrame(frame) ?? KeyValueFrame.decode(frame);

export const KeyValueService = {
  stream: {
    ...GeneratedKeyValueService.stream,
    requestSerialize: encodeByteFrame,
    requestDeserialize: keyValueFrame,
    responseSerialize: encodeByteFrame,
    responseDeserialize: keyValueFrame,
  },
};

export const PeerService = {
  ...GeneratedPeerService,
  frames: {
    ...GeneratedPeerService.frames,
    requestSerialize: encodeByteFrame,
    requestDeserialize: (frame: Buffer): PeerFrame => decodeByteFrame(frame) ?? PeerFrame.decode(frame),
  },
};

export type PeerClient = GeneratedPeerClient;
export const PeerClient = makeGenericClientConstructor(
  PeerService,
  'tidemark.v1.Peer',
) as unknown as new (...args: ConstructorParameters<typeof GeneratedPeerClient>) => GeneratedPeerClient;
