/** Questions to each member of a cluster rather than to its leader, and the hand-over of the lead. */
import { TidemarkError, toTidemarkError } from '../base/index.ts';
import { ClientService, type DigestReply, type StatusReply } from '../wire/index.ts';
import type { Endpoints } from './endpoints.ts';
import { advice, askEndpoints } from './no-leader.ts';

/** A member as those asked know it; `status` is what it says of itself, `error` why it says nothing. */
export interface MemberStatus {
  readonly memberId: bigint;
  readonly peerAddress: string;
  readonly clientAddress: string;
  readonly status: StatusReply | undefined;
  readonly error: TidemarkError | undefined;
  readonly role: 'leader' | 'voter' | 'learner';
  /** What the leader knows of it; undefined without a leader. The leader itself lacks nothing. */
  readonly known: KnownMember | undefined;
}

export interface KnownMember {
  /** The last entry that its disk has, as far as the leader knows. */
  readonly matchIndex: bigint;
  /** Entries of the leader's log after that. */
  readonly lag: bigint;
  /** Milliseconds since the leader heard it. */
  readonly silentMs: bigint;
  /** How the leader replicates to it; empty for the leader. */
  readonly replication: string;
  /** Snapshots that it was sent since it had last caught up: more than two are an alarm. */
  readonly snapshots: number;
}

export interface Members {
  readonly members: readonly MemberStatus[];
  /** The id of the next member that is added: its certificate must name it. */
  readonly nextMemberId: bigint;
}

/** What a member says of its state and of the others'. */
export interface MemberDigest {
  readonly memberId: bigint;
  readonly clientAddress: string;
  readonly digest: DigestReply | undefined;
  readonly error: TidemarkError | undefined;
}

const ASK_WITHIN_MS = 1_000;
const TRANSFER_FORMAT = 1;

/**
 * Asks every member for its status, also those that are not among the endpoints.
 * @throws TidemarkError `NOT_INITIALIZED`, `NO_LEADER` when no endpoint knows the members.
 */
export async function askMembers(endpoints: Endpoints): Promise<Members> {
  const view = await newestView(endpoints);
  const found = await Promise.all(
    view.members.map(async ({ memberId, peerAddress, clientAddress, role }) => {
      const call = endpoints.call(clientAddress, ClientService.status, {}, ASK_WITHIN_MS);
      return { memberId, peerAddress, clientAddress, role, ...(await settled(call)) };
    }),
  );
  const leader = found.find(({ value }) => value?.role === 'leader')?.value;
  const members = found.map(({ value, role, ...rest }): MemberStatus => {
    const { memberId } = rest;
    const isLeader = leader?.memberId === memberId;
    const configured = role === 'learner' ? 'learner' : 'voter';
    return {
      ...rest,
      role: isLeader ? 'leader' : configured,
      status: value,
      known: knownBy(leader, memberId),
    };
  });
  return { members, nextMemberId: (leader ?? view).nextMemberId };
}

function knownBy(leader: StatusReply | undefined, memberId: bigint): KnownMember | undefined {
  if (leader === undefined) return undefined;
  if (leader.memberId === memberId)
    return { matchIndex: leader.lastIndex, lag: 0n, silentMs: 0n, replication: '', snapshots: 0 };
  const info = leader.members.find((member) => member.memberId === memberId);
  // A leader that has just won has not heard of its members yet.
  if (info === undefined || info.replication === '') return undefined;
  const { matchIndex, lag, silentMs, replication, snapshots } = info;
  return { matchIndex, lag, silentMs, replication, snapshots };
}

/** Asks every member for its digest and its verdict. @throws TidemarkError as {@link askMembers}. */
export async function askDigests(endpoints: Endpoints): Promise<MemberDigest[]> {
  const { members } = await newestView(endpoints);
  return Promise.all(
    members.map(async ({ memberId, clientAddress }) => {
      const call = endpoints.call(clientAddress, ClientService.digest, {}, ASK_WITHIN_MS);
      const { value, error } = await settled(call);
      return { memberId, clientAddress, digest: value, error };
    }),
  );
}

/**
 * Asks the leader to hand over, to `member` or to whoever is nearest (0n), and returns who leads then (0n:
 * not known yet). Asked once: a lost answer is an unknown outcome.
 * @throws TidemarkError `NO_LEADER`, `TRANSFER_FAILED`, `OUTCOME_UNKNOWN`.
 */
export async function transferLeader(
  endpoints: Endpoints,
  member: bigint,
  withinMs: number,
): Promise<bigint> {
  const { leaderClientAddress } = await newestView(endpoints);
  if (leaderClientAddress === '') {
    throw new TidemarkError('NO_LEADER', 'no coordinator knows a leader', {
      next: 'Try again: an election may be going on.',
    });
  }
  const request = { format: TRANSFER_FORMAT, memberId: member };
  const method = ClientService.transferLeader;
  return (await endpoints.call(leaderClientAddress, method, request, withinMs)).leaderId;
}

/** What the endpoint of the highest term says; of those, the one that knows the latest configuration. */
async function newestView(endpoints: Endpoints): Promise<StatusReply> {
  const found = await askEndpoints(endpoints, endpoints.known);
  const answers = found.flatMap((one) => ('status' in one ? [one.status] : []));
  const members = answers.filter(({ clusterId }) => clusterId !== '');
  const [newest] = members.sort((left, right) => {
    return Number(right.term - left.term) || Number(right.configurationIndex - left.configurationIndex);
  });
  if (newest !== undefined) return newest;
  if (answers.length > 0) {
    throw new TidemarkError('NOT_INITIALIZED', 'the cluster was never initialised', {
      next: `tidemark cluster init --endpoints ${endpoints.given.join(',')}`,
    });
  }
  const [first] = found.flatMap((one) => ('error' in one ? [one.error] : []));
  throw new TidemarkError('NO_LEADER', `no endpoint answers: ${first?.message ?? ''}`, {
    next: advice(found, endpoints.secure),
    cause: first,
  });
}

interface Settled<T> {
  readonly value: T | undefined;
  readonly error: TidemarkError | undefined;
}

async function settled<T>(call: Promise<T>): Promise<Settled<T>> {
  try {
    return { value: await call, error: undefined };
  } catch (error) {
    return { value: undefined, error: toTidemarkError(error) };
  }
}
