/**
 * Configurations as values: the one before the first entry, what follows from any, and their bytes in
 * entries, logs and snapshots (format version, then msgpack; checked after decoding).
 */
import {
  LIMITS,
  TidemarkError,
  decode,
  encode,
  logIndex,
  memberId,
  type LogIndex,
  type MemberId,
} from '../base/index.ts';
import type { Configuration, ConfiguredMember, Member } from './types.ts';

const CONFIGURATION_FORMAT = 1;
const VOTER = 1;
const LEARNER = 2;

/** A configuration without its place: its entry's index says that. */
export type NewConfiguration = Omit<Configuration, 'index'>;

/** Makes the configuration before the first entry: voters only, or nobody on a member that joins later. */
export function initialConfiguration(members: readonly Member[]): Configuration {
  const last = members.reduce((most, { id }) => Math.max(most, id), 0);
  return {
    index: logIndex(0),
    members: members.map((member) => ({ ...member, role: 'voter' })),
    outgoing: [],
    nextMemberId: memberId(last + 1),
  };
}

/** Tells whether this member belonged to the cluster once and does not any more: ids are never reused. */
export function wasRemoved(configuration: Configuration, id: MemberId): boolean {
  return id < configuration.nextMemberId && !configuration.members.some((member) => member.id === id);
}

export function votersOf({ members }: Pick<Configuration, 'members'>): readonly MemberId[] {
  return members.filter(({ role }) => role === 'voter').map(({ id }) => id);
}

/** Tells whether this is a voter of either half. */
export function isVoter({ members, outgoing }: Configuration, id: MemberId): boolean {
  return outgoing.includes(id) || votersOf({ members }).includes(id);
}

/** What comes after a joint configuration: its new half alone (paper, section 6). */
export function withoutOldHalf(joint: Configuration): NewConfiguration {
  const { members, outgoing, nextMemberId } = joint;
  const stays = ({ id, role }: ConfiguredMember): boolean => role === 'voter' || !outgoing.includes(id);
  return { members: members.filter(stays), outgoing: [], nextMemberId };
}

export function encodeConfiguration({ members, outgoing, nextMemberId }: NewConfiguration): Uint8Array {
  const list = members.map(({ id, peerAddress, clientAddress, role }) => {
    return [id, peerAddress, clientAddress, role === 'voter' ? VOTER : LEARNER];
  });
  return encode(CONFIGURATION_FORMAT, [nextMemberId, outgoing, list]);
}

/** @throws TidemarkError `FORMAT_UNKNOWN` or `DATA_CORRUPT`. */
export function decodeConfiguration(bytes: Uint8Array, index: LogIndex): Configuration {
  const value = decode(CONFIGURATION_FORMAT, bytes, 'a configuration');
  if (!Array.isArray(value) || value.length !== 3) throw damaged('three fields');
  const [next, outgoing, list] = value as readonly unknown[];
  if (!Array.isArray(list) || list.length > LIMITS.membersMax) throw damaged('a list of members');
  if (!Array.isArray(outgoing)) throw damaged('its old half');
  const members = list.map(memberOf);
  const ids = new Set(members.map(({ id }) => id));
  const configuration: Configuration = {
    index,
    members,
    outgoing: outgoing.map(idOf),
    nextMemberId: idOf(next),
  };
  const known = configuration.outgoing.every((id) => ids.has(id));
  if (ids.size !== members.length || !known) throw damaged('members that differ');
  if (members.some(({ id }) => id >= configuration.nextMemberId)) throw damaged('ids that were given');
  return configuration;
}

function memberOf(value: unknown): ConfiguredMember {
  if (!Array.isArray(value) || value.length !== 4) throw damaged('members');
  const [id, peerAddress, clientAddress, role] = value as readonly unknown[];
  if (typeof peerAddress !== 'string' || typeof clientAddress !== 'string') throw damaged('addresses');
  if (role !== VOTER && role !== LEARNER) throw damaged('roles');
  return { id: idOf(id), peerAddress, clientAddress, role: role === VOTER ? 'voter' : 'learner' };
}

function idOf(value: unknown): MemberId {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return memberId(value);
  throw damaged('ids of members');
}

function damaged(without: string): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `a configuration without ${without}`);
}
