/** Who belongs to a cluster before its log says otherwise. */
import { logIndex, memberId } from '../base/index.ts';
import type { Configuration, Member } from './types.ts';

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
