/**
 * The virtual slot of a value (decision 0011). A slot is for good: rows lie where it says, and the state of a
 * row is looked for there. So the hash, its bytes and their number never change under a store.
 */
import { crc32 } from 'node:zlib';
import { LIMITS } from '../../base/index.ts';
import type { CompiledShard } from '../../job/index.ts';
import type { SqlValue } from '../../sql/index.ts';
import { valueText } from './row-checksum.ts';

/**
 * The slot of a shard key's value, from 0; NULL has one too. MySQL compares texts without their trailing
 * blanks, and what is equal there has one slot.
 */
export function slotOf(value: SqlValue): number {
  return crc32(valueText(typeof value === 'string' ? withoutBlanks(value) : value)) % LIMITS.storeSlots;
}

function withoutBlanks(text: string): string {
  let end = text.length;
  while (text.charAt(end - 1) === ' ') end -= 1;
  return text.slice(0, end);
}

/**
 * By slot, the position of the shard that holds it. The declaration was checked: each slot has one shard
 * (src/job/file/topology-rules.ts).
 */
export function shardsBySlot(shards: readonly Pick<CompiledShard, 'slots'>[]): Uint16Array {
  const bySlot = new Uint16Array(LIMITS.storeSlots);
  for (const [at, { slots }] of shards.entries()) {
    for (const { first, last } of slots) bySlot.fill(at, first, last + 1);
  }
  return bySlot;
}
