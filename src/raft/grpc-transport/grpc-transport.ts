/**
 * Peers over gRPC: a stream per direction, so that a reader that stalls never holds up what it says itself.
 */
import { randomBytes } from 'node:crypto';
import { mutated, type Cancel, type ClusterId, type Clock, type MemberId } from '../../base/index.ts';
import type { PeerCredentials, PeerServer } from '../../wire/index.ts';
import type { Member, PeerTransport, RaftLogger } from '../types.ts';
import { DeathWatch } from './death-watch.ts';
import { encodeHello, type Lane } from './hello.ts';
import { PeerAddresses } from './peer-addresses.ts';
import { PeerInbox, type FrameHandler } from './peer-inbox.ts';
import { PeerLink } from './peer-link.ts';
import { PeerLinks } from './peer-links.ts';

export interface GrpcPeerTransportOptions {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** Where this member listens for peers, as advertised: those that do not know it yet are told. */
  readonly ownAddress?: string;
  /** Where members listen that the log has not named yet (see `setMembers`). Asked at each dial. */
  readonly addressOf: (id: MemberId) => string | undefined;
  /**
   * Whom this member was told of when it was admitted. It keeps a connection with them until its log names
   * the members: whoever was removed before that would else never hear so. @default none
   */
  readonly introduced?: readonly MemberId[];
  /** Whether it is committed that a member is none any more: it is told so, and heard no more. */
  readonly isRemoved?: (id: MemberId) => boolean;
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
  return new Transport(options);
}

/** How often open streams are looked at for members that were removed, in milliseconds. */
const REMOVED_LOOK_MS = 500;

class Transport implements GrpcPeerTransport {
  readonly service: GrpcPeerTransport['service'];
  readonly #options: GrpcPeerTransportOptions;
  readonly #incarnation = randomBytes(8).toString('hex');
  readonly #addresses: PeerAddresses;
  readonly #inbox: PeerInbox;
  readonly #watch: DeathWatch;
  readonly #links: PeerLinks;
  /** Said once, although each attempt to reach it tells so again. */
  readonly #ended = new Set<MemberId>();
  #onGone: (id: MemberId) => void = () => undefined;
  #onRemoved: () => void = () => undefined;
  #cancelLook: Cancel | undefined;

  constructor(options: GrpcPeerTransportOptions) {
    const { clusterId, memberId, credentials, log, isRemoved = () => false } = options;
    this.#options = options;
    const addresses = new PeerAddresses(options.addressOf);
    this.#addresses = addresses;
    this.#inbox = new PeerInbox({
      expected: { clusterId, memberId, isMember: (id) => addresses.of(id) !== undefined, isRemoved },
      credentials,
      log,
      onOpened: ({ from, incarnation, address }) => {
        this.#ended.delete(from);
        addresses.introduce(from, address);
        this.#watch.greeted(from, incarnation);
        this.#lookLater();
      },
      onClosed: (from) => {
        this.#watch.streamClosed(from);
      },
    });
    this.#watch = new DeathWatch({
      addressOf: (id) => addresses.of(id),
      connected: (id) => this.#inbox.has(id) || this.#links.connected(id),
      onGone: (id) => {
        if (!this.#ended.has(id)) log.info({ peer: id }, 'the process of a peer has ended');
        this.#ended.add(id);
        this.#onGone(id);
      },
    });
    this.#links = new PeerLinks(memberId, (to, lane) => this.#makeLink(to, lane));
    this.service = {
      frames: (call, callback) => {
        this.#inbox.accept(call, callback);
      },
    };
  }

  send(to: MemberId, frame: Uint8Array): void {
    this.#links.to(to, 'log').send(frame);
  }

  sendBulk(to: MemberId, frame: Uint8Array): void {
    this.#links.to(to, 'bulk').send(frame);
  }

  onFrame(handler: FrameHandler): void {
    this.#inbox.onFrame(handler);
  }

  onPeerGone(handler: (id: MemberId) => void): void {
    this.#onGone = handler;
  }

  setMembers(members: readonly Member[]): void {
    this.#addresses.set(members);
    const { introduced = [] } = this.#options;
    const unknown = members.length === 0 && !mutated('raft.strangerAsksNobody');
    this.#links.keep(unknown ? introduced : members.map(({ id }) => id));
    this.#inbox.endRemoved();
  }

  onRemoved(handler: () => void): void {
    this.#onRemoved = handler;
  }

  close(): Promise<void> {
    this.#cancelLook?.();
    this.#watch.close();
    this.#links.close();
    this.#inbox.close();
    return Promise.resolve();
  }

  /**
   * A removal may commit, or become known here, after the hello was taken: who then sends nothing, as a
   * learner with an empty log, would never be told.
   */
  #lookLater(): void {
    this.#cancelLook ??= this.#options.clock.after(REMOVED_LOOK_MS, () => {
      this.#cancelLook = undefined;
      this.#inbox.endRemoved();
      if (!this.#inbox.isEmpty) this.#lookLater();
    });
  }

  #makeLink(to: MemberId, lane: Lane): PeerLink {
    const { clusterId, memberId, ownAddress, credentials, clock, log } = this.#options;
    const incarnation = this.#incarnation;
    return new PeerLink({
      to,
      address: () => this.#addresses.of(to),
      credentials: credentials.channelTo(to),
      hello: encodeHello({ clusterId, from: memberId, to, incarnation, lane, address: ownAddress }),
      clock,
      log,
      onClosed: () => {
        this.#watch.streamClosed(to);
      },
      onRemoved: () => {
        this.#onRemoved();
      },
    });
  }
}
