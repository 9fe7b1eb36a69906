/**
 * Peers over gRPC: a stream per direction, so that a reader that stalls never holds up what it says itself.
 */
import { randomBytes } from 'node:crypto';
import { LIMITS, assert, type ClusterId, type Clock, type MemberId } from '../../base/index.ts';
import type { PeerCredentials, PeerServer } from '../../wire/index.ts';
import type { PeerTransport, RaftLogger } from '../types.ts';
import { DeathWatch } from './death-watch.ts';
import { encodeHello, type Lane } from './hello.ts';
import { PeerInbox } from './peer-inbox.ts';
import { PeerLink } from './peer-link.ts';

export interface GrpcPeerTransportOptions {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** Where a member listens for peers; undefined for whoever is no member. Asked at each dial. */
  readonly addressOf: (id: MemberId) => string | undefined;
  readonly credentials: PeerCredentials;
  readonly clock: Clock;
  readonly log: RaftLogger;
}

export interface GrpcPeerTransport extends PeerTransport {
  /** The accepting side, to be added to a server (`admit` is the coordinator's). */
  readonly service: Pick<PeerServer, 'frames'>;
}

/** Makes the transport of one member. It dials when there is something to send. */
export function createGrpcPeerTransport(options: GrpcPeerTransportOptions): GrpcPeerTransport {
  const { clusterId, memberId, addressOf, credentials, clock, log } = options;
  const incarnation = randomBytes(8).toString('hex');
  const lanes = { log: new Map<MemberId, PeerLink>(), bulk: new Map<MemberId, PeerLink>() };
  const isMember = (id: MemberId): boolean => addressOf(id) !== undefined;
  let onGone: (id: MemberId) => void = () => undefined;
  const inbox = new PeerInbox({
    expected: { clusterId, memberId, isMember },
    credentials,
    log,
    onClosed: (from) => {
      watch.streamClosed(from);
    },
  });
  const watch = new DeathWatch({
    addressOf,
    connected: (id) => inbox.has(id) || lanes.log.get(id)?.connected === true,
    onGone: (id) => {
      log.info({ peer: id }, 'the process of a peer has ended');
      onGone(id);
    },
  });
  const linkTo = (to: MemberId, lane: Lane): PeerLink => {
    const links = lanes[lane];
    const known = links.get(to);
    if (known !== undefined) return known;
    assert(to !== memberId && links.size < LIMITS.membersMax, () => `no peer ${to}`);
    const hello = encodeHello({ clusterId, from: memberId, to, incarnation, lane });
    const onClosed = (): void => {
      watch.streamClosed(to);
    };
    const address = (): string | undefined => addressOf(to);
    const channel = credentials.channelTo(to);
    const link = new PeerLink({ to, address, credentials: channel, hello, clock, log, onClosed });
    links.set(to, link);
    return link;
  };
  return {
    service: {
      frames: (call, callback) => {
        inbox.accept(call, callback);
      },
    },
    send(to, frame) {
      linkTo(to, 'log').send(frame);
    },
    sendBulk(to, frame) {
      linkTo(to, 'bulk').send(frame);
    },
    onFrame(handler) {
      inbox.onFrame(handler);
    },
    onPeerGone(handler) {
      onGone = handler;
    },
    close() {
      watch.close();
      for (const links of Object.values(lanes)) for (const link of links.values()) link.close();
      inbox.close();
      return Promise.resolve();
    },
  };
}
