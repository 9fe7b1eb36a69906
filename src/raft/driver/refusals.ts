/** What a caller is told instead of an answer. */
import { LIMITS, TidemarkError, type MemberId } from '../../base/index.ts';
import type { RaftOptions } from '../types.ts';

/** Names the leader's client address, where one is known. */
export function notLeader(options: RaftOptions, leaderId: MemberId | undefined): TidemarkError {
  const leader = options.initialMembers.find((member) => member.id === leaderId);
  const details = leader === undefined ? {} : { leader: leader.clientAddress, leaderId: String(leader.id) };
  return new TidemarkError('NOT_LEADER', `member ${options.memberId} does not lead`, { details });
}

/** The log is kept whole in this version, and bounded. */
export function logFull(log: {
  readonly entries: number;
  readonly bytes: number;
}): TidemarkError | undefined {
  const { entries, bytes } = log;
  if (entries < LIMITS.raftLogEntriesMax && bytes <= LIMITS.raftLogBytesMax) return undefined;
  return new TidemarkError('LOG_FULL', `the log holds ${entries} entries and ${bytes} bytes`, {
    next: 'This version keeps its whole log: start a new cluster, or use a version that compacts it.',
  });
}

export function stopping(text = 'this node is stopping'): TidemarkError {
  return new TidemarkError('STOPPING', text);
}

/** It was appended, and may yet be committed by others. */
export function unknownOutcome(text: string): TidemarkError {
  return new TidemarkError('OUTCOME_UNKNOWN', `${text} before the entry was applied`);
}
