import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { expect, test } from 'vitest';
import { decodeByteFrame, encodeByteFrame } from '../../src/wire/byte-frames.ts';
import { KeyValueFrame, PeerFrame } from '../../src/wire/index.ts';

const SIZES = [1, 127, 128, 129, 16_383, 16_384, 70_000, 2_097_151, 2_097_152];

test.each(SIZES)('a frame of %i bytes is written as the generated code writes it', (size) => {
  const payload = Buffer.alloc(size, 'x');
  const frame = encodeByteFrame({ payload });
  expect(frame.equals(PeerFrame.encode({ payload }).finish())).toBe(true);
  expect(frame.equals(KeyValueFrame.encode({ payload }).finish())).toBe(true);
  expect(decodeByteFrame(frame)?.payload.equals(payload)).toBe(true);
});

test('an empty frame is written as the generated code writes it, and left to it to read', () => {
  expect(encodeByteFrame({ payload: Buffer.alloc(0) })).toHaveLength(0);
  expect(decodeByteFrame(Buffer.alloc(0))).toBeUndefined();
});

test('what is cut off, longer, or made of other fields is left to the generated code', () => {
  const frame = encodeByteFrame({ payload: Buffer.from('payload') });
  for (let end = 0; end < frame.length; end++)
    expect(decodeByteFrame(frame.subarray(0, end))).toBeUndefined();
  expect(decodeByteFrame(Buffer.concat([frame, frame]))).toBeUndefined();
  expect(decodeByteFrame(Buffer.from(new BinaryWriter().uint32(16).uint32(7).finish()))).toBeUndefined();
  expect(decodeByteFrame(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]))).toBeUndefined();
});
