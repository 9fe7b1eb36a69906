/**
 * The store's topology and its groups of databases: what of them may change when (decision 0011). Rows of
 * sealed windows lie where the topology said when they were written, so that after the first seal a group
 * keeps its name, its slots and its data: replicas come and go, and one that was a replica may be named as
 * the primary after a failover.
 */
import type { DeclareJob } from './operations.ts';
import type { TopologyRecord } from './records.ts';
import type { StateWriter } from './writer.ts';

/** What a declared topology changes: nothing, members of groups only, or where rows lie. */
export type TopologyChange = 'none' | 'members' | 'places';

export function topologyChange(
  known: TopologyRecord | undefined,
  next: DeclareJob['topology'],
): TopologyChange {
  if (known === undefined || (known.spec === next.spec && samePlaces(known, next))) return 'none';
  return samePlaces(known, next) && keepsData(known, next) ? 'members' : 'places';
}

function samePlaces(known: DeclareJob['topology'], next: DeclareJob['topology']): boolean {
  const places = ({ shards }: DeclareJob['topology']): string =>
    JSON.stringify(shards.map(({ name, slots }) => [name, slots]));
  return places(known) === places(next);
}

function keepsData(known: DeclareJob['topology'], next: DeclareJob['topology']): boolean {
  return next.shards.every((shard, at) => isSameGroup(known.shards[at], shard));
}

interface Group {
  readonly members: readonly string[];
}

/** Whether a group's primary is one of the databases that the group had before: then it has the rows. */
export function isSameGroup(known: Group | undefined, next: Group): boolean {
  const [primary] = next.members;
  return primary !== undefined && (known?.members.includes(primary) ?? false);
}

/** Writes a topology that differs under its next version, and returns it with what it changes. */
export function declareTopology(
  writer: StateWriter,
  next: DeclareJob['topology'],
): { readonly version: number; readonly action: 'created' | 'changed' | 'unchanged' } {
  const { topology: known } = writer;
  const change = topologyChange(known, next);
  if (known !== undefined && change === 'none') return { version: known.version, action: 'unchanged' };
  const version = (known?.version ?? 0) + 1;
  const placedVersion = known !== undefined && change === 'members' ? known.placedVersion : version;
  writer.setTopology({ version, placedVersion, spec: next.spec, shards: next.shards });
  return { version, action: known === undefined ? 'created' : 'changed' };
}
