/** Faults of the network by chance: frames that are lost, doubled, late or old, and links that are cut. */
import { must, type MemberId } from '../../../src/base/index.ts';
import type { Fault } from './counts.ts';
import type { Chance } from './loop.ts';
import type { SimMember } from './member.ts';
import type { Simulation } from './simulation.ts';

export class LinkFaults {
  readonly #simulation: Simulation;
  readonly #chance: Chance;
  #ended = false;

  constructor(simulation: Simulation, chance: Chance) {
    this.#simulation = simulation;
    this.#chance = chance;
  }

  /** Nothing goes on by itself any longer. */
  end(): void {
    this.#ended = true;
  }

  strike(fault: Fault, victim: SimMember): void {
    const { network, loop } = this.#simulation;
    const chance = this.#chance;
    const ids = this.#simulation.members.map(({ id }) => id);
    this.#simulation.counts.add(fault);
    if (fault === 'loss') network.faults.drop = chance.pick([0.05, 0.3]);
    else if (fault === 'duplicate') network.faults.double = 0.1;
    else if (fault === 'straggler') network.faults.straggle = chance.pick([0.05, 0.2]);
    else if (fault === 'replay') network.faults.replay = chance.pick([0.02, 0.1]);
    else if (fault === 'flapping') this.#flap(victim, chance.between(4, 20));
    else if (fault === 'isolation') {
      cut(this.#simulation, (from, to) => (from === victim.id) !== (to === victim.id));
      // Clients that do not know go on asking it.
      for (const ms of [5, 20, 60]) loop.after(ms, () => void this.#simulation.clients.writeAt(victim));
    } else if (fault === 'one-way-cut') {
      const outward = chance.hits(0.5);
      cut(this.#simulation, (from, to) => (outward ? from : to) === victim.id);
    } else if (fault === 'ring') {
      const at = (id: MemberId): number => ids.indexOf(id);
      cut(this.#simulation, (from, to) => {
        const apart = Math.abs(at(from) - at(to));
        return apart !== 1 && apart !== ids.length - 1;
      });
      if (ids.length === 3) network.block(must(ids[0], 'first'), must(ids[2], 'last'));
    } else if (fault === 'bridge') {
      const half = ids.filter((id) => id !== victim.id).slice(0, (ids.length - 1) / 2);
      const other = (id: MemberId): boolean => id !== victim.id && !half.includes(id);
      cut(this.#simulation, (from, to) => {
        return (half.includes(from) && other(to)) || (other(from) && half.includes(to));
      });
    } else if (fault === 'random-cut') cut(this.#simulation, () => chance.hits(0.3));
    else if (fault === 'false-death') {
      // A mistake of the death watch: it may cost an election, never safety.
      for (const id of ids) if (chance.hits(0.5)) network.announceEnd(id, victim.id);
    }
  }

  #flap(victim: SimMember, times: number): void {
    if (this.#ended) return;
    const { network, loop, members } = this.#simulation;
    for (const { id } of members) {
      if (times % 2 === 0) network.block(id, victim.id);
      else network.unblock(id, victim.id);
    }
    if (times === 0) return;
    loop.after(this.#chance.between(100, 900), () => {
      this.#flap(victim, times - 1);
    });
  }
}

function cut(simulation: Simulation, cuts: (from: MemberId, to: MemberId) => boolean): void {
  const ids = simulation.members.map(({ id }) => id);
  for (const from of ids) {
    for (const to of ids) if (from !== to && cuts(from, to)) simulation.network.block(from, to);
  }
}
