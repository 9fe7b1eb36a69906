/**
 * How a node becomes a further member of a running cluster (part of `cluster add`). The leader asks first
 * whether it would; the change is committed; then the node writes its identity. A crash in between leaves a
 * learner; the same command then adds the node under the next id, since nobody can tell it from one that was
 * told and lost its folder.
 */
import { LIMITS, TidemarkError, clusterId, memberId } from '../../base/index.ts';
import type { Member } from '../../raft/index.ts';
import type { JoinReply, JoinRequest, Member as WireMember } from '../../wire/index.ts';
import type { ExpectedMember } from './data-folder.ts';
import { checkFormat } from '../grpc-server.ts';
import { removePending, writeIdentity, type Identity } from './identity.ts';
import type { InitialiserOptions } from './initialise.ts';
import { safeNumber } from '../safe-number.ts';

export const JOIN_FORMAT = 1;

/** @throws TidemarkError `ALREADY_INITIALIZED`, `MEMBER_MISMATCH`, `BAD_REQUEST`, `FORMAT_UNKNOWN`. */
export async function joinCluster(options: InitialiserOptions, request: JoinRequest): Promise<JoinReply> {
  checkFormat(request.format, JOIN_FORMAT, 'the join request');
  const identity = readJoin(request);
  checkAddresses(identity, options.own());
  const existing = options.identity();
  if (existing !== undefined) {
    const same = existing.clusterId === identity.clusterId && existing.memberId === identity.memberId;
    if (same) return { format: JOIN_FORMAT };
    throw alreadyInitialised(`the coordinator at ${options.own().clientAddress}`, existing.clusterId);
  }
  if (request.checkOnly) return { format: JOIN_FORMAT };
  await writeIdentity(options.folder, identity);
  await removePending(options.folder);
  await options.begin(identity);
  return { format: JOIN_FORMAT };
}

/** @throws TidemarkError `MEMBER_MISMATCH` when the node is admitted under addresses that are not its own. */
export function checkAddresses(identity: Identity, { peerAddress, clientAddress }: ExpectedMember): void {
  const own = identity.members.find((member) => member.id === identity.memberId);
  if (own?.peerAddress === peerAddress && own.clientAddress === clientAddress) return;
  throw new TidemarkError(
    'MEMBER_MISMATCH',
    `admitted as member ${identity.memberId} at ${own?.peerAddress ?? 'no address'}, not at ${peerAddress}`,
    { next: 'Check that each coordinator advertises an address of its own.' },
  );
}

export function alreadyInitialised(who: string, cluster: string): TidemarkError {
  return new TidemarkError('ALREADY_INITIALIZED', `${who} belongs to cluster ${cluster} already`, {
    next: 'See tidemark cluster status. To begin anew, start coordinators on empty data folders.',
  });
}

export function readMembers(members: readonly WireMember[]): Member[] {
  return members.map((member) => ({
    id: memberId(safeNumber(member.memberId, 'member id')),
    peerAddress: member.peerAddress,
    clientAddress: member.clientAddress,
  }));
}

function readJoin(request: JoinRequest): Identity {
  const text = request.clusterId;
  // The members that there are, those that leave, and the new one.
  if (!/^[0-9a-f]{32}$/.test(text) || request.members.length > 2 * LIMITS.membersMax) {
    throw new TidemarkError('BAD_REQUEST', 'the request names no cluster id or too many members');
  }
  return {
    clusterId: clusterId(text),
    memberId: memberId(safeNumber(request.memberId, 'member id')),
    members: readMembers(request.members),
    joined: true,
    started: false,
    removed: false,
  };
}
