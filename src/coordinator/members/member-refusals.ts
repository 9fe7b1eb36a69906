/** What a request to change the members is refused with before consensus is asked. */
import {
  TidemarkError,
  isTidemarkError,
  toTidemarkError,
  type ClusterId,
  type MemberId,
} from '../../base/index.ts';
import type { Configuration, ConfiguredMember, Member } from '../../raft/index.ts';
import type { StatusReply } from '../../wire/index.ts';

/** @throws TidemarkError `MEMBER_EXISTS` when a member has one of the addresses with another beside it. */
export function sameMember(
  configuration: Configuration,
  wanted: Omit<Member, 'id'>,
): ConfiguredMember | undefined {
  const { peerAddress, clientAddress } = wanted;
  const known = configuration.members.find(
    (member) => member.peerAddress === peerAddress || member.clientAddress === clientAddress,
  );
  if (known === undefined) return undefined;
  if (known.peerAddress === peerAddress && known.clientAddress === clientAddress) return known;
  throw new TidemarkError(
    'MEMBER_EXISTS',
    `member ${known.id} serves peers at ${known.peerAddress} and clients at ${known.clientAddress}`,
    { next: 'Give the new coordinator addresses of its own.' },
  );
}

/** True for an id that was given out and is no member's any more. @throws TidemarkError `MEMBER_UNKNOWN`. */
export function isGone(configuration: Configuration, id: MemberId): boolean {
  if (configuration.members.some((member) => member.id === id)) return false;
  if (id > 0 && id < configuration.nextMemberId) return true;
  throw unknownMember(configuration, id);
}

export function unknownMember(configuration: Configuration, id: MemberId): TidemarkError {
  const removed = id > 0 && id < configuration.nextMemberId;
  if (removed) return new TidemarkError('MEMBER_REMOVED', `member ${id} was removed from this cluster`);
  const known = configuration.members.map((member) => member.id).join(', ');
  return new TidemarkError('MEMBER_UNKNOWN', `there is no member ${id}; there are ${known}`, {
    next: 'See tidemark cluster members.',
  });
}

export function taken(status: StatusReply, clusterId: ClusterId): TidemarkError {
  const where = `the coordinator at ${status.clientAddress}`;
  const whose = status.clusterId === clusterId ? ` as member ${status.memberId}` : ', not to this one';
  return new TidemarkError('ALREADY_INITIALIZED', `${where} belongs to cluster ${status.clusterId}${whose}`, {
    next: 'Stop it, and start it on an empty data folder; then add it.',
  });
}

/** Its votes and what it acknowledged are gone: under the old id it could vote twice. */
export function folderLost({ id, clientAddress }: ConfiguredMember): TidemarkError {
  return new TidemarkError(
    'MEMBERSHIP_UNSAFE',
    `member ${id} at ${clientAddress} has lost its data folder, and with it its votes`,
    { next: `Give it a new id: tidemark cluster remove ${id}, then add it again.` },
  );
}

/** The change is committed and the id given out, whatever came of the node. */
export function notAdmitted(id: MemberId, nextId: MemberId, error: unknown): TidemarkError {
  const known = toTidemarkError(error);
  return new TidemarkError(
    known.code,
    `member ${id} is a learner now, and did not confirm it: ${known.message}`,
    {
      next:
        `Give the command again. If it does not know yet that it is member ${id}, it gets id ${nextId} ` +
        'then, and its certificate must name that one.',
      cause: known,
    },
  );
}

/** Adds to a refusal why the node is to have another id than the one that it was listed under. */
export function needsNewId(listed: MemberId, id: MemberId, error: unknown): unknown {
  if (!isTidemarkError(error, 'MEMBER_UNREACHABLE')) return error;
  return new TidemarkError(error.code, error.message, {
    next:
      `It was listed as member ${listed} and has no identity, so that it gets id ${id}: a certificate ` +
      `of its own must name that one. ${error.next ?? ''}`,
    cause: error,
  });
}

export async function reached<T>(address: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!isTidemarkError(error, 'NO_LEADER', 'OUTCOME_UNKNOWN', 'TLS_REFUSED', 'UNAUTHORIZED')) throw error;
    throw new TidemarkError('MEMBER_UNREACHABLE', `${address}: ${error.message}`, {
      next: error.next ?? 'Start it, or correct its address, and give the command again.',
      cause: error,
    });
  }
}
