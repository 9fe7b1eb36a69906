/** Health of a coordinator. Live: it answers at all. Ready: it can serve, or say at once who can. */
import { LIMITS } from '../base/index.ts';
import type { HealthCheck } from '../ops/index.ts';
import type { RaftStatus } from '../raft/index.ts';

/** A follower that has not heard of its leader for this long cannot tell anyone where to go. */
const LEADER_CONTACT_MAX_MS = LIMITS.raftTickMs * LIMITS.raftElectionTicks * 2;
/** Committed entries that are not applied yet; beyond it reads would be served late. */
const APPLY_LAG_MAX = 10_000;

/** What cannot go on ends its process here; a stalled event loop shows as no answer. */
export function livenessChecks(): HealthCheck[] {
  return [{ name: 'process', check: () => '' }];
}

export function readinessChecks(status: () => RaftStatus | undefined): HealthCheck[] {
  return [
    { name: 'cluster', check: () => (status() === undefined ? 'waiting for cluster init' : '') },
    { name: 'raft', check: () => leaderProblem(status()) },
    { name: 'apply', check: () => applyProblem(status()) },
  ];
}

/** Looks at how long ago the leader was heard, not at who it was: a stored name outlives its bearer. */
function leaderProblem(status: RaftStatus | undefined): string {
  if (status === undefined) return 'not started';
  if (status.leading) return '';
  if (status.leaderId === undefined) return `no leader known in term ${status.term}`;
  if (status.leaderId === status.memberId) return 'elected, not confirmed yet';
  const silentMs = status.leaderContactMs ?? Number.POSITIVE_INFINITY;
  if (silentMs > LEADER_CONTACT_MAX_MS)
    return `leader ${status.leaderId} was not heard for ${Math.round(silentMs)} ms`;
  return '';
}

function applyProblem(status: RaftStatus | undefined): string {
  if (status === undefined) return 'not started';
  const lag = status.commitIndex - status.appliedIndex;
  return lag > APPLY_LAG_MAX ? `${lag} committed entries are not applied yet` : '';
}
