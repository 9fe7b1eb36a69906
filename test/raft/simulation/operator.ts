/**
 * An operator who grows, shrinks and repairs the cluster while faults strike: machines are put there for
 * members that were admitted, learners are promoted, members are removed and replaced, several at once and
 * the leader among them. It asks in bad moments, too: while the network parts, just before a loss of power,
 * twice, and whoever has just been elected.
 */
import { isTidemarkError, type MemberId } from '../../../src/base/index.ts';
import type { MembershipChange, RaftStatus } from '../../../src/raft/index.ts';
import type { Fault } from './counts.ts';
import type { Chance } from './loop.ts';
import type { SimMember } from './member.ts';
import type { Simulation } from './simulation.ts';

const VOTERS_MAX = 7;
const LEARNERS_MAX = 2;
/** Machines in all, so that runs stay short. */
const MACHINES_MAX = 14;

export const CHANGES = ['operator', 'split-change', 'crash-in-change'] as const;

/** Tells whether this fault is the operator's. */
export function isChange(fault: Fault): fault is (typeof CHANGES)[number] {
  return (CHANGES as readonly Fault[]).includes(fault);
}

export class Operator {
  readonly #simulation: Simulation;
  readonly #chance: Chance;
  readonly #mayAct: () => boolean;
  #ended = false;
  #machines = 100;

  constructor(simulation: Simulation, chance: Chance, mayAct: () => boolean) {
    this.#simulation = simulation;
    this.#chance = chance;
    this.#mayAct = mayAct;
  }

  /** From now on it asks whoever is elected, before it can know what was committed before it. */
  begin(): void {
    this.#simulation.onElected = (member) => {
      if (this.#ended || this.#chance.hits(0.5)) return;
      this.#simulation.loop.after(this.#chance.between(0, 8), () => {
        this.#ask(member);
      });
    };
  }

  end(): void {
    this.#ended = true;
  }

  /** Puts machines where members are to come, now and then before that is committed. */
  async join(): Promise<void> {
    const { members, oracles } = this.#simulation;
    const leader = this.#simulation.leader()?.running?.driver.status().configuration;
    for (const { id } of [...oracles.configuration.members, ...(leader?.members ?? [])]) {
      if (!members.some((member) => member.id === id)) await this.#simulation.join(id);
    }
  }

  /** Asks for a change of members in the way that the fault says. */
  act(fault: (typeof CHANGES)[number]): void {
    const { counts } = this.#simulation;
    const leader = this.#simulation.leader();
    if (leader === undefined || !this.#ask(leader)) return;
    counts.add(fault);
    if (fault === 'split-change') this.#split(leader);
    else if (fault === 'crash-in-change') this.#crash(leader);
    if (this.#chance.hits(0.5)) this.#again();
  }

  /** The same or another change is asked for before the first can be done. */
  #again(): void {
    const { loop, members } = this.#simulation;
    for (const ms of [this.#chance.between(0, 6), this.#chance.between(10, 1_500)]) {
      loop.after(ms, () => {
        for (const member of members) this.#ask(member);
      });
    }
  }

  /** The network parts just then: often only the learners are left to the leader. */
  #split(leader: SimMember): void {
    const { members, network, loop } = this.#simulation;
    const chance = this.#chance;
    const voters = idsOf(statusOf(leader), 'voter');
    const alone = chance.hits(0.5);
    const stays = members.map(
      ({ id }) => id === leader.id || chance.hits(alone && voters.includes(id) ? 0 : 0.5),
    );
    members.forEach(({ id: from }, at) => {
      members.forEach(({ id: to }, other) => {
        if (stays[at] !== stays[other]) network.block(from, to);
      });
    });
    loop.after(chance.between(300, 3_500), () => {
      network.heal();
    });
  }

  /** Power is lost just then: often at a leader of whose change nobody else has heard. */
  #crash(leader: SimMember): void {
    const { members, network, loop } = this.#simulation;
    const chance = this.#chance;
    const unheard = chance.hits(0.5);
    if (unheard) for (const { id } of members) network.block(leader.id, id);
    const victim = unheard || chance.hits(0.4) ? leader : chance.pick(members);
    loop.after(chance.between(unheard ? 3 : 0, 8), () => {
      if (unheard) network.heal();
      if (!this.#ended) this.#simulation.crash(victim);
    });
  }

  /** Tells whether there was somebody to ask, and something to ask for. */
  #ask(member: SimMember): boolean {
    const { driver } = member.running ?? {};
    if (this.#ended || !this.#mayAct() || driver?.core.role !== 'leader') return false;
    const status = driver.status();
    const change = this.#next(status);
    if (change === undefined) return false;
    const expected = this.#chance.hits(0.3) ? { expected: status.configuration.index } : {};
    driver.changeMembership({ ...change, ...expected }).catch((error: unknown) => {
      if (!isTidemarkError(error)) {
        this.#simulation.oracles.fail(`a change of members failed with ${String(error)}`);
      }
    });
    return true;
  }

  #next(status: RaftStatus): MembershipChange | undefined {
    const chance = this.#chance;
    const [voters, learners] = [idsOf(status, 'voter'), idsOf(status, 'learner')];
    const ready = status.followers.filter(({ id, state }) => state === 'replicate' && learners.includes(id));
    const wish = chance.next();
    if (ready.length > 0 && wish < 0.75) {
      const promote = ready.slice(chance.between(0, ready.length - 1)).map(({ id }) => id);
      const most = Math.min(voters.length, promote.length + 1);
      const least = Math.max(0, voters.length + promote.length - VOTERS_MAX);
      return { promote, remove: this.#leaving(voters, chance.between(least, most)) };
    }
    if (learners.length > 0 && wish < 0.8) return { remove: [chance.pick(learners)] };
    if (voters.length > 1 && wish > 0.9) return { remove: this.#leaving(voters, chance.pick([1, 1, 2])) };
    const room = MACHINES_MAX - this.#simulation.members.length;
    const most = Math.min(room, LEARNERS_MAX - learners.length);
    return most < 1 ? undefined : { add: this.#machinesToCome(chance.between(1, most)) };
  }

  /** Broken ones first; else whoever it is. */
  #leaving(voters: readonly MemberId[], count: number): readonly MemberId[] {
    const broken = this.#simulation.members.filter(({ id, refused }) => refused && voters.includes(id));
    const turned = this.#chance.between(0, voters.length - 1);
    const order = [...broken.map(({ id }) => id), ...voters.slice(turned), ...voters.slice(0, turned)];
    return [...new Set(order)].slice(0, count);
  }

  #machinesToCome(count: number): Required<MembershipChange>['add'] {
    return Array.from({ length: count }, () => {
      this.#machines++;
      const name = String(this.#machines);
      return { peerAddress: `peer-${name}`, clientAddress: `client-${name}` };
    });
  }
}

function statusOf({ running }: SimMember): RaftStatus | undefined {
  return running?.driver.status();
}

function idsOf(status: RaftStatus | undefined, role: string): readonly MemberId[] {
  return status?.members.filter((member) => member.role === role).map(({ id }) => id) ?? [];
}
