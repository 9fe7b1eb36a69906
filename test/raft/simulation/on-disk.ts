/** What a member would find on its log's disk if power were lost now. */
import { logIndex } from '../../../src/base/index.ts';
import { HARD_STATE_KEY, decodeHardState, entryKey } from '../../../src/raft/log-store/index.ts';
import type { SimMember } from './member.ts';

export function hardStateOf({ disk }: SimMember): ReturnType<typeof decodeHardState> | undefined {
  const stored = disk.durable(HARD_STATE_KEY);
  return stored === undefined ? undefined : decodeHardState(stored);
}

/** Tells whether the entry is there, or stands in what the log was compacted to. */
export function holds(member: SimMember, index: number): boolean {
  if (member.disk.durable(entryKey(logIndex(index))) !== undefined) return true;
  return (hardStateOf(member)?.base.index ?? 0) >= index;
}

/** Tells the same of the entry of that term. */
export function holdsOfTerm(member: SimMember, index: number, term: number): boolean {
  const record = member.disk.durable(entryKey(logIndex(index)));
  if (record === undefined) return (hardStateOf(member)?.base.index ?? 0) >= index;
  return Buffer.from(record).readUInt32BE(11) === term;
}
