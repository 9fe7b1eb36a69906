/**
 * The store's topology as a job file declares it (decision 0011): groups of a primary and replicas, and which
 * of the virtual slots each holds. A slot that no shard holds would lose rows, one that two hold would double
 * them.
 */
import { LIMITS } from '../../base/index.ts';
import type { Findings } from '../findings.ts';
import type { JobGroup, JobStore } from './job-file.ts';
import type { RawJob } from './job-schema.ts';
import { engineOf, type DatabaseRef, type SlotRange } from '../model.ts';
import type { Path } from './problems.ts';
import { stableJson } from '../report-hash.ts';

/** The stores with the slots that they declare, or an even share each, in the order of the file. */
export function storesOf(raw: RawJob['stores'], findings: Findings): JobStore[] {
  const entries = Object.entries(raw);
  const declared = entries.filter(([, store]) => store.slots !== undefined).length;
  if (declared > 0 && declared < entries.length) {
    for (const [name, { slots }] of entries) {
      if (slots !== undefined) continue;
      findings.add('TOPOLOGY_INVALID', ['stores', name], 'has no slots, and others have: all or none');
    }
  }
  return entries.map(([name, { database, replicas, slots }], at) => ({
    name,
    database,
    replicas,
    slots: slots ?? evenShare(at, entries.length),
  }));
}

/** The part of the slots that is one of `count` shards' own, as even as can be. */
function evenShare(at: number, count: number): SlotRange {
  const before = (shard: number): number => Math.floor((shard * LIMITS.storeSlots) / count);
  return { first: before(at), last: before(at + 1) - 1 };
}

/** Checks that each slot has one shard, and that no database stands in two places. */
export function checkTopology(
  stores: readonly JobStore[],
  databases: readonly JobGroup[],
  findings: Findings,
): void {
  if (stores.length > LIMITS.storeShardsMax) {
    findings.add('JOB_INVALID', ['stores'], `a store has at most ${LIMITS.storeShardsMax} shards`);
    return;
  }
  if (stores.length > 0) checkSlots(stores, findings);
  checkGroups('stores', stores, findings);
  checkGroups('databases', databases, findings);
}

function checkSlots(stores: readonly JobStore[], findings: Findings): void {
  const inOrder = [...stores].sort((left, right) => left.slots.first - right.slots.first);
  let next = 0;
  let holder = '';
  for (const { name, slots } of inOrder) {
    const at = ['stores', name, 'slots'];
    if (slots.first > next) lost(at, { first: next, last: slots.first - 1 }, findings);
    if (slots.first < next) {
      const both = { first: slots.first, last: Math.min(slots.last, next - 1) };
      findings.add('TOPOLOGY_INVALID', at, `${slotsText(both)} are those of ${holder} already`);
    }
    if (slots.last >= next) holder = name;
    next = Math.max(next, slots.last + 1);
  }
  if (next < LIMITS.storeSlots) lost(['stores'], { first: next, last: LIMITS.storeSlots - 1 }, findings);
}

function lost(path: Path, range: SlotRange, findings: Findings): void {
  findings.add('TOPOLOGY_INVALID', path, `${slotsText(range)} have no shard: their rows would be lost`);
}

const slotsText = ({ first, last }: SlotRange): string => `slots ${first}-${last}`;

/** One database in two places of a topology would hold rows of both, and show each of them twice. */
function checkGroups(part: 'stores' | 'databases', groups: readonly JobGroup[], findings: Findings): void {
  const seen = new Map<string, string>();
  for (const { name, database, replicas } of groups) {
    const members: readonly (readonly [Path, DatabaseRef])[] = [
      [[part, name], database],
      ...replicas.map((replica, at) => [[part, name, 'replicas', at], replica] as const),
    ];
    for (const [path, member] of members) {
      const text = stableJson(member);
      const first = seen.get(text);
      if (first !== undefined) findings.add('TOPOLOGY_INVALID', path, `${first} is the same database`);
      else seen.set(text, path.join('.'));
    }
    if (replicas.length > 0 && [database, ...replicas].some((member) => engineOf(member) === 'embedded')) {
      const message = 'the embedded engine does not replicate: leave replicas out';
      findings.add('TOPOLOGY_INVALID', [part, name, 'replicas'], message);
    }
  }
}
