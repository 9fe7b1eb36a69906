/**
 * Peers over gRPC: a stream per direction, so that a reader that stalls never holds up what it says itself.
 */
import { randomBytes } from 'node:crypto';
import type { ClusterId, Clock, MemberId } from '../../base/index.ts';
import type { PeerCredentials, PeerServer } from '../../wire/index.ts';
import type { PeerTransport, RaftLogger } from '../types.ts';
import { DeathWatch } from './death-watch.ts';
import { encodeHello } from './hello.ts';
import { PeerInbox } from './peer-inbox.ts';
import { PeerLink } from './peer-link.ts';
import { PeerLinks } from './peer-links.ts';

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

/** Makes the transport of one member. It dials whom it has to write to, and whom it is told to. */
export function createGrpcPeerTransport(options: GrpcPeerTransportOptions): GrpcPeerTransport {
  const { clusterId, memberId, addressOf, credentials, clock, log } = options;
  const incarnation = randomBytes(8).toString('hex');
  const isMember = (id: MemberId): boolean => addressOf(id) !== undefined;
  /** Said once, although each attempt to reach it tells so again. */
  const ended = new Set<MemberId>();
  let onGone: (id: MemberId) => void = () => undefined;
  const inbox = new PeerInbox({
    expected: { clusterId, memberId, isMember },
    credentials,
    log,
    onOpened: (hello) => {
      ended.delete(hello.from);
      watch.greeted(hello.from, hello.incarnation);
    },
    onClosed: (from) => {
      watch.streamClosed(from);
    },
  });
  const watch = new DeathWatch({
    addressOf,
    connected: (id) => inbox.has(id) || links.connected(id),
    onGone: (id) => {
      if (!ended.has(id)) log.info({ peer: id }, 'the process of a peer has ended');
      ended.add(id);
      onGone(id);
    },
  });
  const links = new PeerLinks(memberId, (to, lane) => {
    const hello = encodeHello({ clusterId, from: memberId, to, incarnation, lane });
    const onClosed = (): void => {
      watch.streamClosed(to);
    };
    const address = (): string | undefined => addressOf(to);
    return new PeerLink({ to, address, credentials: credentials.channelTo(to), hello, clock, log, onClosed });
  });
  return {
    service: {
      frames: (call, callback) => {
        inbox.accept(call, callback);
      },
    },
    send(to, frame) {
      links.to(to, 'log').send(frame);
    },
    sendBulk(to, frame) {
      links.to(to, 'bulk').send(frame);
    },
    setMembers(members) {
      links.keep(members.map(({ id }) => id));
    },
    onFrame(handler) {
      inbox.onFrame(handler);
    },
    onPeerGone(handler) {
      onGone = handler;
    },
    close() {
      watch.close();
      links.close();
      inbox.close();
      return Promise.resolve();
    },
  };
}
