/** How members tell each other digests of their states: one small call to a connection that is kept. */
import { Metadata } from '@grpc/grpc-js';
import { LIMITS, TidemarkError, type ClusterId, type MemberId } from '../../base/index.ts';
import type { Member } from '../../raft/index.ts';
import { CHANNEL_OPTIONS, PeerClient, fromServiceError } from '../../wire/index.ts';
import type { DigestsReply, DigestsRequest, PeerCredentials } from '../../wire/index.ts';
import type { DigestReport } from './digest-verdict.ts';
import { checkFormat } from '../grpc-server.ts';
import type { Identity } from '../members/identity.ts';
import { safeNumber } from '../safe-number.ts';

const DIGESTS_FORMAT = 1;
const DEADLINE_MS = 1_000;
/** A connection of its own: one that is kept and fails would hold up the dialling of the raft streams. */
const OPTIONS = { ...CHANNEL_OPTIONS, 'grpc.use_local_subchannel_pool': 1 };

interface Kept {
  readonly address: string;
  readonly client: PeerClient;
}

export class DigestCalls {
  readonly #clusterId: ClusterId;
  readonly #credentials: PeerCredentials;
  readonly #clients = new Map<MemberId, Kept>();

  constructor(clusterId: ClusterId, credentials: PeerCredentials) {
    this.#clusterId = clusterId;
    this.#credentials = credentials;
  }

  /** @throws TidemarkError whatever the member answered, or that it did not. */
  ask(member: Member): Promise<DigestReport> {
    const request = { format: DIGESTS_FORMAT, clusterId: this.#clusterId, memberId: BigInt(member.id) };
    const client = this.#client(member);
    return new Promise((resolve, reject) => {
      client.digests(request, new Metadata(), { deadline: Date.now() + DEADLINE_MS }, (error, reply) => {
        if (error !== null) reject(fromServiceError(error));
        else resolve(reply.digests.map(({ index, digest }) => ({ index: Number(index), digest })));
      });
    });
  }

  close(): void {
    for (const { client } of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  /** Those that are still members are dialled again: this happens once in many replacements. */
  #forgetOldest(): void {
    const [oldest] = this.#clients;
    if (oldest === undefined || this.#clients.size < LIMITS.membersMax) return;
    oldest[1].client.close();
    this.#clients.delete(oldest[0]);
  }

  #client({ id, peerAddress }: Member): PeerClient {
    const kept = this.#clients.get(id);
    if (kept?.address === peerAddress) return kept.client;
    kept?.client.close();
    this.#forgetOldest();
    const client = new PeerClient(peerAddress, this.#credentials.channelTo(id), OPTIONS);
    this.#clients.set(id, { address: peerAddress, client });
    return client;
  }
}

/**
 * Answers another member.
 * @throws TidemarkError `CLUSTER_MISMATCH`, `MEMBER_MISMATCH`, `FORMAT_UNKNOWN`.
 */
export function digestsReply(request: DigestsRequest, own: Identity, digests: DigestReport): DigestsReply {
  checkFormat(request.format, DIGESTS_FORMAT, 'the question for digests');
  if (request.clusterId !== own.clusterId) {
    throw new TidemarkError('CLUSTER_MISMATCH', `this is cluster ${own.clusterId}, not the caller's`);
  }
  if (safeNumber(request.memberId, 'member id') !== own.memberId) {
    throw new TidemarkError('MEMBER_MISMATCH', `this is member ${own.memberId}, not ${request.memberId}`);
  }
  return {
    format: DIGESTS_FORMAT,
    digests: digests.map(({ index, digest }) => ({ index: BigInt(index), digest })),
  };
}
