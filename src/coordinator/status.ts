/** What a coordinator says of itself; every node answers this, whether it leads or not. */
import type { RaftStatus } from '../raft/index.ts';
import type { DigestReply, MemberInfo, StatusReply } from '../wire/index.ts';
import type { ClusterNode } from './cluster-node.ts';
import type { ExpectedMember } from './members/data-folder.ts';
import type { Identity } from './members/identity.ts';

export const STATUS_FORMAT = 1;

export function statusReply(input: {
  readonly version: string;
  readonly own: ExpectedMember;
  readonly identity: Identity | undefined;
  /** Undefined while a member is starting, too. */
  readonly node: ClusterNode | undefined;
}): StatusReply {
  const { version, own, identity, node } = input;
  if (identity === undefined) return { ...EMPTY, version, ...own };
  if (node === undefined) {
    const { clusterId, memberId } = identity;
    return { ...EMPTY, version, ...own, clusterId, memberId: BigInt(memberId), role: 'follower' };
  }
  const status = node.raft.status();
  const view = node.view();
  const times = node.raft.writeTimes();
  const leader = status.members.find((member) => member.id === status.leaderId);
  return {
    format: STATUS_FORMAT,
    version,
    clusterId: status.clusterId,
    memberId: BigInt(status.memberId),
    ...own,
    role: status.role,
    term: BigInt(status.term),
    leaderId: BigInt(status.leaderId ?? 0),
    leaderClientAddress: leader?.clientAddress ?? '',
    commitIndex: BigInt(status.commitIndex),
    appliedIndex: BigInt(view.appliedIndex),
    lastIndex: BigInt(status.lastIndex),
    logTimeMs: BigInt(view.cluster.logTimeMs),
    digest: view.digest,
    members: membersOf(status),
    leaderContactMs: BigInt(Math.round(status.leaderContactMs ?? 0)),
    executors: view.executors.size,
    configurationIndex: BigInt(status.configuration.index),
    nextMemberId: BigInt(status.configuration.nextMemberId),
    diskP50Us: microseconds(times.p50Ms),
    diskP99Us: microseconds(times.p99Ms),
  };
}

function membersOf({ members, followers }: RaftStatus): MemberInfo[] {
  return members.map(({ id, peerAddress, clientAddress, role }) => {
    const known = followers.find((follower) => follower.id === id);
    return {
      memberId: BigInt(id),
      peerAddress,
      clientAddress,
      role,
      replication: known?.state ?? '',
      matchIndex: BigInt(known?.match ?? 0),
      lag: BigInt(known?.lag ?? 0),
      silentMs: BigInt(Math.round(known?.silentMs ?? 0)),
      snapshots: known?.snapshots ?? 0,
    };
  });
}

function microseconds(ms: number): bigint {
  return BigInt(Math.round(ms * 1_000));
}

/** What a member says of its state and of the others'. */
export function digestReply(node: ClusterNode): DigestReply {
  const { appliedIndex, digest } = node.view();
  const verdict = node.verdict();
  return {
    format: STATUS_FORMAT,
    memberId: BigInt(node.identity.memberId),
    appliedIndex: BigInt(appliedIndex),
    digest,
    verdict: verdict.kind,
    differsAt: BigInt(verdict.kind === 'equal' ? 0 : verdict.index),
    wrongMembers: verdict.kind === 'others-wrong' ? verdict.members.map(BigInt) : [],
  };
}

const EMPTY: StatusReply = {
  format: STATUS_FORMAT,
  version: '',
  clusterId: '',
  memberId: 0n,
  peerAddress: '',
  clientAddress: '',
  role: 'uninitialized',
  term: 0n,
  leaderId: 0n,
  leaderClientAddress: '',
  commitIndex: 0n,
  appliedIndex: 0n,
  lastIndex: 0n,
  logTimeMs: 0n,
  digest: '',
  members: [],
  leaderContactMs: 0n,
  executors: 0,
  configurationIndex: 0n,
  nextMemberId: 0n,
  diskP50Us: 0n,
  diskP99Us: 0n,
};
