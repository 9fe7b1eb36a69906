/** What a caller is told instead of an answer. */
import { LIMITS, TidemarkError, type MemberId } from '../../base/index.ts';
import type { RaftOptions, Configuration } from '../types.ts';

/** Names the leader's client address, where one is known. */
export function notLeader(
  { memberId }: RaftOptions,
  { members }: Configuration,
  leaderId: MemberId | undefined,
): TidemarkError {
  const leader = members.find((member) => member.id === leaderId);
  const details = leader === undefined ? {} : { leader: leader.clientAddress, leaderId: String(leader.id) };
  return new TidemarkError('NOT_LEADER', `member ${memberId} does not lead`, { details });
}

/** The log grows only while it cannot be compacted: the state machine or its disk is behind. */
export function logFull(log: {
  readonly entries: number;
  readonly bytes: number;
}): TidemarkError | undefined {
  const { entries, bytes } = log;
  if (entries < LIMITS.raftLogEntriesMax && bytes <= LIMITS.raftLogBytesMax) return undefined;
  return new TidemarkError('LOG_FULL', `the log holds ${entries} entries and ${bytes} bytes`, {
    next: 'The log cannot be compacted. Look at the disk and the log messages of this coordinator.',
  });
}

export function stopping(text = 'this node is stopping'): TidemarkError {
  return new TidemarkError('STOPPING', text);
}

/** It was appended, and may yet be committed by others. */
export function unknownOutcome(text: string, before = 'the entry was applied'): TidemarkError {
  return new TidemarkError('OUTCOME_UNKNOWN', `${text} before ${before}`);
}
