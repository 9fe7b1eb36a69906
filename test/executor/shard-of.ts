/** On which shard the rows of generated cases lie: as in production by the slot of the shard key's value. */
import { LIMITS, must } from '../../src/base/index.ts';
import { shardsBySlot, slotOf } from '../../src/collector/store/shard-slot.ts';
import type { SqlValue } from '../../src/sql/index.ts';

/** Slots are dealt out so many at a time: then the few values of the cases lie on every shard. */
const DEALT = 16;

const dealt = (shards: number): Uint16Array =>
  shardsBySlot(
    Array.from({ length: shards }, (_shard, at) => ({
      slots: Array.from({ length: LIMITS.storeSlots / DEALT }, (_slots, piece) => piece)
        .filter((piece) => piece % shards === at)
        .map((piece) => ({ first: piece * DEALT, last: (piece + 1) * DEALT - 1 })),
    })),
  );
const BY_SLOT = new Map([1, 2].map((shards) => [shards, dealt(shards)]));

export function shardOf(value: SqlValue, shards: number): number {
  const bySlot = must(BY_SLOT.get(shards), 'cases have one shard or two');
  return must(bySlot[slotOf(value)], 'the shard of a slot');
}
