/** Calls from one coordinator to another outside consensus: who are you, and you are admitted. */
import { Metadata, type ChannelCredentials } from '@grpc/grpc-js';
import { LIMITS, TidemarkError, isTidemarkError, mutated } from '../../base/index.ts';
import type { Member } from '../../raft/index.ts';
import { CHANNEL_OPTIONS, ClientClient, PeerClient, fromServiceError } from '../../wire/index.ts';
import type {
  AdmitRequest,
  Credentials,
  InitReply,
  InitRequest,
  JoinRequest,
  Member as WireMember,
  StatusReply,
} from '../../wire/index.ts';

const CALL_DEADLINE_MS = 5_000;

/**
 * A connection of its own: one shared with whoever dialled the address while nothing served it would answer
 * for a while that nothing does.
 */
const OPTIONS = { ...CHANNEL_OPTIONS, 'grpc.use_local_subchannel_pool': 1 };
const FORMAT = 1;

export interface CoordinatorAnswer {
  /** The address that was asked, as typed. */
  readonly asked: string;
  readonly status: StatusReply;
}

/**
 * Asks a coordinator for its status.
 * @throws TidemarkError `NO_LEADER` when nothing answers at the address.
 */
export async function askStatus(credentials: Credentials, address: string): Promise<CoordinatorAnswer> {
  const asking = new ClientClient(address, ...channel(credentials.client.channel));
  try {
    return await withClient<ClientClient, CoordinatorAnswer>(address, asking, (client, done) => {
      client.status({}, new Metadata(), { deadline: Date.now() + CALL_DEADLINE_MS }, (error, status) => {
        done(error, { asked: address, status });
      });
    });
  } catch (error) {
    // A question changes nothing: where it got to is all one.
    if (!isTidemarkError(error, 'OUTCOME_UNKNOWN')) throw error;
    const { message, next } = error;
    throw new TidemarkError('NO_LEADER', message, { ...(next === undefined ? {} : { next }), cause: error });
  }
}

/**
 * Has another coordinator run an init.
 * @throws TidemarkError what it answered; `NO_LEADER` when it was surely not asked, `OUTCOME_UNKNOWN` when
 * its answer did not come.
 */
export function sendInit(
  credentials: Credentials,
  address: string,
  request: InitRequest,
): Promise<InitReply> {
  const client = new ClientClient(address, ...channel(credentials.client.channel));
  return withClient(address, client, (_client, done) => {
    client.init(request, new Metadata(), { deadline: Date.now() + LIMITS.clientDeadlineMs }, done);
  });
}

interface Cluster {
  readonly clusterId: string;
  readonly members: readonly Member[];
  readonly checkOnly: boolean;
}

/**
 * Makes the coordinator behind a member's peer address that member of a cluster that begins, or asks whether
 * it would. Repeating it changes nothing.
 */
export async function sendAdmit(credentials: Credentials, member: Member, cluster: Cluster): Promise<void> {
  const request = requestFor(member, cluster);
  await withClient(member.peerAddress, peerClient(credentials, member), (client, done) => {
    client.admit(request, new Metadata(), { deadline: Date.now() + CALL_DEADLINE_MS }, done);
  });
}

/**
 * Makes the coordinator behind a member's peer address that member of a running cluster, or asks whether it
 * would. Repeating it changes nothing.
 */
export async function sendJoin(credentials: Credentials, member: Member, cluster: Cluster): Promise<void> {
  const request = requestFor(member, cluster);
  await withClient(member.peerAddress, peerClient(credentials, member), (client, done) => {
    client.join(request, new Metadata(), { deadline: Date.now() + CALL_DEADLINE_MS }, done);
  });
}

function requestFor({ id }: Member, { clusterId, members, checkOnly }: Cluster): AdmitRequest & JoinRequest {
  return { format: FORMAT, clusterId, memberId: BigInt(id), members: wireMembers(members), checkOnly };
}

function wireMembers(members: readonly Member[]): WireMember[] {
  return members.map(({ id, peerAddress, clientAddress }) => ({
    memberId: BigInt(id),
    peerAddress,
    clientAddress,
  }));
}

function peerClient(credentials: Credentials, member: Member): PeerClient {
  return new PeerClient(member.peerAddress, ...channel(credentials.peer.channelTo(member.id)));
}

function channel(credentials: ChannelCredentials): [ChannelCredentials, typeof OPTIONS] {
  return [credentials, OPTIONS];
}

function withClient<Client extends { close(): void }, Reply>(
  address: string,
  client: Client,
  call: (client: Client, done: (error: Error | null, reply: Reply) => void) => void,
): Promise<Reply> {
  return new Promise<Reply>((resolve, reject) => {
    call(client, (error, reply) => {
      client.close();
      if (error === null) resolve(reply);
      else reject(unreachable(address, fromServiceError(error)));
    });
  });
}

/** What may have been done is told as that, although each call may be repeated. */
function unreachable(address: string, error: TidemarkError): TidemarkError {
  if (error.code !== 'OUTCOME_UNKNOWN' && error.code !== 'NO_LEADER') return error;
  const code = mutated('coordinator.openInitIsFailure') ? 'NO_LEADER' : error.code;
  return new TidemarkError(code, `the coordinator at ${address} does not answer: ${error.message}`, {
    next: `Start it, or correct its address, and give the command again.`,
    cause: error,
  });
}
