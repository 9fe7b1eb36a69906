/** What a coordinator makes of an error that it caught before it answers someone else. */
import { AssertionError, TidemarkError, isTidemarkError, toTidemarkError } from '../base/index.ts';
import type { MemberId } from '../base/index.ts';
import type { RaftStatus } from '../raft/index.ts';

/** Maps to a coded error; a broken invariant of ours is rethrown, for it ends the process. */
export function codedOrThrow(error: unknown): TidemarkError {
  if (error instanceof AssertionError) throw error;
  return toTidemarkError(error);
}

/** Makes the error that sends a caller to the leader, with its address where this node knows one. */
export function notLeader(status: RaftStatus): TidemarkError {
  const leader = status.members.find((member) => member.id === status.leaderId);
  if (leader === undefined || leader.id === status.memberId) {
    return new TidemarkError(
      'NOT_LEADER',
      'this coordinator does not lead, and knows no leader at the moment',
    );
  }
  return new TidemarkError('NOT_LEADER', `this coordinator does not lead; member ${leader.id} does`, {
    next: `Ask the coordinator at ${leader.clientAddress}.`,
    details: { leader: leader.clientAddress },
  });
}

/** Gives a `NOT_LEADER` from below the address of the leader as it is known now. */
export function withLeader(error: unknown, status: RaftStatus): TidemarkError {
  if (isTidemarkError(error, 'NOT_LEADER')) return notLeader(status);
  return codedOrThrow(error);
}

/** Makes the error that ends a member that was removed, and every later start on its folder. */
export function memberRemoved(of: {
  readonly memberId: MemberId;
  readonly clusterId: string;
}): TidemarkError {
  return new TidemarkError(
    'MEMBER_REMOVED',
    `member ${of.memberId} was removed from cluster ${of.clusterId}`,
    {
      next: 'Its folder is of no more use. To bring the machine back, add it on an empty folder.',
    },
  );
}

/** Makes the error for calls that only a member of a cluster can answer. */
export function notInitialised(): TidemarkError {
  return new TidemarkError('NOT_INITIALIZED', 'this coordinator belongs to no cluster yet', {
    next: 'Begin one with: tidemark cluster init --endpoints ADDRESS,ADDRESS,ADDRESS',
  });
}

/** Makes the error of a member whose log and state are being opened. */
export function notReady(): TidemarkError {
  return new TidemarkError('NOT_LEADER', 'this coordinator is starting');
}
