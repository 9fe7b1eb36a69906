/** The first frame of every peer stream: who speaks, to whom, of which cluster. Nothing is read before it. */
import { TidemarkError, decode, encode, type ClusterId, type MemberId } from '../../base/index.ts';

const HELLO_FORMAT = 1;

export type Lane = 'log' | 'bulk';

export interface PeerHello {
  readonly clusterId: ClusterId;
  readonly from: MemberId;
  readonly to: MemberId;
  /** Snapshots have a connection of their own. @default 'log' */
  readonly lane?: Lane;
  /** Random for each start of a process. */
  readonly incarnation: string;
  /** Where the speaker listens for peers: whoever was added lately may not be in this member's log yet. */
  readonly address?: string | undefined;
}

export function encodeHello(hello: PeerHello): Uint8Array {
  const { clusterId, from, to, incarnation, lane = 'log', address = '' } = hello;
  return encode(HELLO_FORMAT, { clusterId, from, to, incarnation, lane, address });
}

export interface ExpectedHello {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** Whether a member is in this one's configuration or was named when it joined. */
  readonly isMember: (id: MemberId) => boolean;
  /** Whether it is committed that the member is none any more. */
  readonly isRemoved: (id: MemberId) => boolean;
}

/** Who speaks on a stream, for what, which start of that member it is, and where it says that it listens. */
export type CheckedHello = Required<Pick<PeerHello, 'from' | 'lane' | 'incarnation'>> & {
  /** Empty if it does not say. */
  readonly address: string;
};

/**
 * Returns who speaks.
 *
 * A member that this one has not heard of yet is let in with the address that it names: a follower takes
 * entries also from a leader that its own log does not know (paper, section 6).
 *
 * @throws TidemarkError `BAD_REQUEST`, `FORMAT_UNKNOWN`, `DATA_CORRUPT`, `CLUSTER_MISMATCH`,
 * `MEMBER_MISMATCH`, `MEMBER_REMOVED`.
 */
export function checkHello(payload: Uint8Array, expected: ExpectedHello): CheckedHello {
  const value = decode(HELLO_FORMAT, payload, 'the first frame of a peer');
  if (typeof value !== 'object' || value === null)
    throw new TidemarkError('BAD_REQUEST', 'a peer said no hello');
  const { clusterId, from, to, lane, address, incarnation } = value as Partial<
    Record<keyof PeerHello, unknown>
  >;
  if (clusterId !== expected.clusterId) {
    throw new TidemarkError('CLUSTER_MISMATCH', `this is cluster ${expected.clusterId}, not the peer's`);
  }
  if (to !== expected.memberId) {
    throw new TidemarkError('MEMBER_MISMATCH', `this is member ${expected.memberId}, not ${String(to)}`);
  }
  const other = typeof from === 'number' && Number.isSafeInteger(from) && from > 0 && from !== to;
  const named = typeof address === 'string' ? address : '';
  const speaker = from as MemberId;
  if (!other || (named === '' && !expected.isMember(speaker))) {
    throw new TidemarkError('MEMBER_MISMATCH', `${String(from)} is no other member of this cluster`);
  }
  if (expected.isRemoved(speaker)) throw removedPeer(speaker);
  return {
    from: speaker,
    lane: lane === 'bulk' ? 'bulk' : 'log',
    incarnation: typeof incarnation === 'string' ? incarnation : '',
    address: named,
  };
}

/** Makes what a member hears that belongs to the cluster no more. */
export function removedPeer(id: MemberId): TidemarkError {
  return new TidemarkError('MEMBER_REMOVED', `member ${id} was removed from the cluster`);
}
