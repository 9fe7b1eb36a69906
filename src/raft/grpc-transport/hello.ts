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
}

export function encodeHello(hello: PeerHello): Uint8Array {
  const { clusterId, from, to, incarnation, lane = 'log' } = hello;
  return encode(HELLO_FORMAT, { clusterId, from, to, incarnation, lane });
}

export interface ExpectedHello {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  readonly isMember: (id: MemberId) => boolean;
}

/** Who speaks on a stream, for what, and which start of that member it is. */
export type CheckedHello = Required<Pick<PeerHello, 'from' | 'lane' | 'incarnation'>>;

/**
 * Returns who speaks.
 * @throws TidemarkError `BAD_REQUEST`, `FORMAT_UNKNOWN`, `DATA_CORRUPT`, `CLUSTER_MISMATCH`,
 * `MEMBER_MISMATCH`.
 */
export function checkHello(payload: Uint8Array, expected: ExpectedHello): CheckedHello {
  const value = decode(HELLO_FORMAT, payload, 'the first frame of a peer');
  if (typeof value !== 'object' || value === null)
    throw new TidemarkError('BAD_REQUEST', 'a peer said no hello');
  const hello = value as Partial<Record<keyof PeerHello, unknown>>;
  if (hello.clusterId !== expected.clusterId) {
    throw new TidemarkError('CLUSTER_MISMATCH', `this is cluster ${expected.clusterId}, not the peer's`);
  }
  if (hello.to !== expected.memberId) {
    throw new TidemarkError(
      'MEMBER_MISMATCH',
      `this is member ${expected.memberId}, not ${String(hello.to)}`,
    );
  }
  const from = hello.from;
  const known = typeof from === 'number' && from !== expected.memberId && expected.isMember(from as MemberId);
  if (!known)
    throw new TidemarkError('MEMBER_MISMATCH', `${String(from)} is no other member of this cluster`);
  const incarnation = typeof hello.incarnation === 'string' ? hello.incarnation : '';
  return { from: from as MemberId, lane: hello.lane === 'bulk' ? 'bulk' : 'log', incarnation };
}
