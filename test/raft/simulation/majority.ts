import type { MemberId } from '../../../src/base/index.ts';
import type { Configuration } from '../../../src/raft/index.ts';

/** Whether these are more than half of the voters, and of the old half too if there are two. */
export function decide(ids: readonly MemberId[], { members, outgoing }: Configuration): boolean {
  const voters = members.filter(({ role }) => role === 'voter').map(({ id }) => id);
  return [voters, outgoing].every((half) => {
    return half.length === 0
      ? half === outgoing
      : half.filter((id) => ids.includes(id)).length * 2 > half.length;
  });
}
