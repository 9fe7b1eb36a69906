/**
 * Writes the little of msgpack that peer frames are made of, into one buffer of the right size: the bytes of
 * entries are copied once. The codec of base reads it.
 */
export type Item = number | boolean | Uint8Array | readonly Item[];

const HEAD_MAX = 9;

/** Returns a number of bytes that the item surely fits. */
export function sizeOf(item: Item): number {
  if (typeof item !== 'object') return HEAD_MAX;
  if (item instanceof Uint8Array) return HEAD_MAX + item.length;
  let size = HEAD_MAX;
  for (const one of item) size += sizeOf(one);
  return size;
}

/** Writes the item at `at`, and returns where it ends. */
export function write(into: Buffer, item: Item, at: number): number {
  if (typeof item === 'number') return writeUint(into, item, at);
  if (typeof item === 'boolean') return into.writeUInt8(item ? 0xc3 : 0xc2, at);
  if (item instanceof Uint8Array) {
    const start = writeLength(into, item.length, at);
    into.set(item, start);
    return start + item.length;
  }
  let end = into.writeUInt32BE(item.length, into.writeUInt8(0xdd, at));
  for (const one of item) end = write(into, one, end);
  return end;
}

function writeUint(into: Buffer, value: number, at: number): number {
  if (value < 0x80) return into.writeUInt8(value, at);
  if (value <= 0xffff_ffff) return into.writeUInt32BE(value, into.writeUInt8(0xce, at));
  return into.writeBigUInt64BE(BigInt(value), into.writeUInt8(0xcf, at));
}

function writeLength(into: Buffer, length: number, at: number): number {
  if (length < 0x100) return into.writeUInt8(length, into.writeUInt8(0xc4, at));
  return into.writeUInt32BE(length, into.writeUInt8(0xc6, at));
}
