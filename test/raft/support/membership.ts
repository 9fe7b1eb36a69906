import { memberId } from '../../../src/base/index.ts';
import { initialConfiguration } from '../../../src/raft/configuration.ts';
import type { Member, RaftStatus } from '../../../src/raft/index.ts';

export const memberOf = (id: number): Member => ({
  id: memberId(id),
  peerAddress: `peer-${id}:1`,
  clientAddress: `client-${id}:1`,
});

/** What a status says of a cluster whose members are the voters that it began with. */
export function membershipOf(
  ids: readonly number[],
): Pick<RaftStatus, 'configuration' | 'members' | 'followers' | 'removed'> {
  const configuration = initialConfiguration(ids.map(memberOf));
  return { configuration, members: configuration.members, followers: [], removed: false };
}
