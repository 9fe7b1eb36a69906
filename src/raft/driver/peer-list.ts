/** Whom the transport talks to: the members, and for a while whoever was one, so that it can be told so. */
import { LIMITS, type MemberId } from '../../base/index.ts';
import type { Configuration, Member, PeerTransport } from '../types.ts';

/** Longer than a member that was cut off for some seconds takes to campaign and to be answered. */
const FAREWELL_TICKS = 20 * LIMITS.raftElectionTicks;

interface Known {
  readonly member: Member;
  /** Undefined: it is a member. */
  ticksLeft: number | undefined;
}

export class PeerList {
  readonly #transport: PeerTransport;
  readonly #known = new Map<MemberId, Known>();
  #configuration: Configuration | undefined;

  constructor(transport: PeerTransport) {
    this.#transport = transport;
  }

  /** To be called after every step with the configuration in force. */
  follow(configuration: Configuration): void {
    if (configuration === this.#configuration) return;
    this.#configuration = configuration;
    for (const known of this.#known.values()) known.ticksLeft ??= FAREWELL_TICKS;
    for (const member of configuration.members) this.#known.set(member.id, { member, ticksLeft: undefined });
    this.#tell();
  }

  tick(): void {
    const before = this.#known.size;
    for (const [id, known] of this.#known) {
      if (known.ticksLeft === undefined) continue;
      known.ticksLeft--;
      if (known.ticksLeft === 0) this.#known.delete(id);
    }
    if (this.#known.size < before) this.#tell();
  }

  #tell(): void {
    this.#transport.setMembers?.([...this.#known.values()].map(({ member }) => member));
  }
}
