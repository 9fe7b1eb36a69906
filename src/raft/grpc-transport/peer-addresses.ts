/**
 * Where peers listen. The configuration says it first; before there is one, what this member was told when it
 * was admitted; and of a member that neither knows, what it said itself.
 */
import { LIMITS, type MemberId } from '../../base/index.ts';
import type { Member } from '../types.ts';

export class PeerAddresses {
  readonly #known: (id: MemberId) => string | undefined;
  readonly #introduced = new Map<MemberId, string>();
  #current: ReadonlyMap<MemberId, string> = new Map();

  constructor(known: (id: MemberId) => string | undefined) {
    this.#known = known;
  }

  of(id: MemberId): string | undefined {
    return this.#current.get(id) ?? this.#known(id) ?? this.#introduced.get(id);
  }

  /** Takes the members of the configuration. */
  set(members: readonly Member[]): void {
    const named = members.filter(({ peerAddress }) => peerAddress !== '');
    this.#current = new Map(named.map(({ id, peerAddress }) => [id, peerAddress]));
    for (const id of this.#current.keys()) this.#introduced.delete(id);
  }

  /** Takes what a member says of itself; the oldest of too many is forgotten. */
  introduce(id: MemberId, address: string): void {
    if (address === '' || this.#current.has(id) || this.#known(id) !== undefined) return;
    this.#introduced.delete(id);
    this.#introduced.set(id, address);
    const [oldest] = this.#introduced.keys();
    if (this.#introduced.size > LIMITS.membersMax && oldest !== undefined) this.#introduced.delete(oldest);
  }
}
