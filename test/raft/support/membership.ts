import { logIndex, memberId } from '../../../src/base/index.ts';
import { initialConfiguration } from '../../../src/raft/configuration.ts';
import type { Configuration, ConfiguredMember, Member, RaftStatus } from '../../../src/raft/index.ts';

export const memberOf = (id: number): Member => ({
  id: memberId(id),
  peerAddress: `peer-${id}:1`,
  clientAddress: `client-${id}:1`,
});

export interface ConfigurationText {
  readonly index?: number;
  readonly voters?: readonly number[];
  readonly learners?: readonly number[];
  readonly outgoing?: readonly number[];
  readonly next?: number;
}

/** Makes a configuration; whoever is only of the old half is listed as it would be by a change. */
export function configurationOf(text: ConfigurationText): Configuration {
  const { index = 0, voters = [], learners = [], outgoing = [] } = text;
  const leaving = outgoing.filter((id) => !voters.includes(id));
  const role = (kind: ConfiguredMember['role']) => {
    return (id: number): ConfiguredMember => ({ ...memberOf(id), role: kind });
  };
  const members = [...voters.map(role('voter')), ...[...learners, ...leaving].map(role('learner'))];
  return {
    index: logIndex(index),
    members,
    outgoing: outgoing.map(memberId),
    nextMemberId: memberId(text.next ?? Math.max(0, ...members.map(({ id }) => id)) + 1),
  };
}

/** What a status says of a cluster whose members are the voters that it began with. */
export function membershipOf(
  ids: readonly number[],
): Pick<RaftStatus, 'configuration' | 'members' | 'followers' | 'removed'> {
  const configuration = initialConfiguration(ids.map(memberOf));
  return { configuration, members: configuration.members, followers: [], removed: false };
}
