/** What a coordinator says of itself; every node answers this, whether it leads or not. */
import type { DigestReply, StatusReply } from '../wire/index.ts';
import type { ClusterNode } from './cluster-node.ts';
import type { ExpectedMember } from './data-folder.ts';
import type { Identity } from './identity.ts';

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
    members: status.members.map(({ id, peerAddress, clientAddress }) => ({
      memberId: BigInt(id),
      peerAddress,
      clientAddress,
    })),
    leaderContactMs: BigInt(Math.round(status.leaderContactMs ?? 0)),
    executors: view.executors.size,
  };
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
};
