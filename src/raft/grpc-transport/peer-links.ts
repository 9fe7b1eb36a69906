/** The dialling side: a stream to each peer and lane, made when it is first needed. */
import { LIMITS, assert, type MemberId } from '../../base/index.ts';
import type { Lane } from './hello.ts';
import type { PeerLink } from './peer-link.ts';

export class PeerLinks {
  readonly #own: MemberId;
  readonly #make: (to: MemberId, lane: Lane) => PeerLink;
  readonly #lanes = { log: new Map<MemberId, PeerLink>(), bulk: new Map<MemberId, PeerLink>() };

  #kept: ReadonlySet<MemberId> = new Set();

  constructor(own: MemberId, make: (to: MemberId, lane: Lane) => PeerLink) {
    this.#own = own;
    this.#make = make;
  }

  to(id: MemberId, lane: Lane): PeerLink {
    const links = this.#lanes[lane];
    const known = links.get(id);
    if (known !== undefined) return known;
    assert(id !== this.#own, () => `no peer ${id}`);
    this.#dropOthers(links);
    const link = this.#make(id, lane);
    links.set(id, link);
    return link;
  }

  connected(id: MemberId): boolean {
    return this.#lanes.log.get(id)?.connected === true;
  }

  /** Keeps a stream to each of these and to no others. */
  keep(ids: readonly MemberId[]): void {
    this.#kept = new Set(ids);
    for (const [id, link] of this.#lanes.log) if (!ids.includes(id)) link.letGo();
    for (const id of ids) if (id !== this.#own) this.to(id, 'log').keepOpen();
  }

  close(): void {
    for (const links of Object.values(this.#lanes)) for (const link of links.values()) link.close();
  }

  /** Links to members that have left go when too many are there; one that is wanted again is made anew. */
  #dropOthers(links: Map<MemberId, PeerLink>): void {
    if (links.size < LIMITS.membersMax) return;
    for (const [id, link] of links) {
      if (this.#kept.has(id)) continue;
      link.close();
      links.delete(id);
    }
  }
}
