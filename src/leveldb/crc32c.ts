/** CRC-32C (Castagnoli) as LevelDB stores it: eight bytes a step, and masked (leveldb, util/crc32c.h). */

const POLYNOMIAL = 0x82f63b78;
const MASK_DELTA = 0xa282ead8;
const STEP_BYTES = 8;

/** `STEP_BYTES` tables of 256 words: what a byte does to the checksum, by how many bytes follow it. */
const TABLE = makeTables();

function makeTables(): Uint32Array {
  const table = new Uint32Array(STEP_BYTES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    table[byte] = crc;
  }
  for (let at = 256; at < table.length; at++) {
    const crc = table[at - 256] ?? 0;
    table[at] = (crc >>> 8) ^ (table[crc & 0xff] ?? 0);
  }
  return table;
}

/** Returns the masked checksum of `bytes[from, to)`. */
export function maskedCrc32c(bytes: Buffer, from: number, to: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const table = TABLE;
  let crc = -1;
  let at = from;
  for (; at + STEP_BYTES <= to; at += STEP_BYTES) {
    const low = crc ^ view.getInt32(at, true);
    const high = view.getInt32(at + 4, true);
    crc =
      (table[1792 + (low & 0xff)] as number) ^
      (table[1536 + ((low >>> 8) & 0xff)] as number) ^
      (table[1280 + ((low >>> 16) & 0xff)] as number) ^
      (table[1024 + (low >>> 24)] as number) ^
      (table[768 + (high & 0xff)] as number) ^
      (table[512 + ((high >>> 8) & 0xff)] as number) ^
      (table[256 + ((high >>> 16) & 0xff)] as number) ^
      (table[high >>> 24] as number);
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ (table[(crc ^ (bytes[at] ?? 0)) & 0xff] as number);
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}
