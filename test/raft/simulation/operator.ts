/**
 * An operator who grows, shrinks and repairs the cluster while faults strike: machines are put there for
 * members that were admitted, learners are promoted, members are removed and replaced, the leader among them.
 */
import { isTidemarkError, type MemberId } from '../../../src/base/index.ts';
import type { Configuration, MembershipChange } from '../../../src/raft/index.ts';
import type { Chance } from './loop.ts';
import type { Simulation } from './simulation.ts';

const VOTERS_MAX = 7;
const LEARNERS_MAX = 2;
/** Machines in all, so that runs stay short. */
const MACHINES_MAX = 12;

export class Operator {
  readonly #simulation: Simulation;
  readonly #chance: Chance;
  actedMs = -Infinity;
  #machines = 100;

  constructor(simulation: Simulation, chance: Chance) {
    this.#simulation = simulation;
    this.#chance = chance;
  }

  /** Puts machines where members were admitted, and asks whoever leads for one change. */
  async act(): Promise<void> {
    const { members, oracles, counts } = this.#simulation;
    const leader = this.#simulation.leader()?.running?.driver;
    if (leader === undefined) return;
    const { configuration } = leader.status();
    for (const { id } of configuration.members) {
      if (!members.some((member) => member.id === id)) await this.#simulation.join(id);
    }
    const change = this.#next(configuration);
    if (change === undefined) return;
    counts.add('operator');
    this.actedMs = this.#simulation.loop.nowMs;
    const expected = this.#chance.hits(0.5) ? { expected: configuration.index } : {};
    leader.changeMembership({ ...change, ...expected }).catch((error: unknown) => {
      if (!isTidemarkError(error)) oracles.fail(`a change of members failed with ${String(error)}`);
    });
  }

  #next(configuration: Configuration): MembershipChange | undefined {
    const chance = this.#chance;
    const idsOf = (role: string): readonly MemberId[] =>
      configuration.members.filter((member) => member.role === role).map(({ id }) => id);
    const [voters, learners] = [idsOf('voter'), idsOf('learner')];
    const broken = this.#simulation.members.filter(({ id, refused }) => refused && voters.includes(id));
    const leaves = (): MemberId => chance.pick(broken.length > 0 ? broken.map(({ id }) => id) : voters);
    const wish = chance.next();
    if (learners.length > 0 && wish < 0.3 && voters.length < VOTERS_MAX)
      return { promote: [chance.pick(learners)] };
    if (learners.length > 0 && wish < 0.6) return { promote: [chance.pick(learners)], remove: [leaves()] };
    if (learners.length > 0 && wish < 0.65) return { remove: [chance.pick(learners)] };
    if (voters.length > 1 && wish > 0.85) return { remove: [leaves()] };
    if (learners.length >= LEARNERS_MAX || this.#simulation.members.length >= MACHINES_MAX) return undefined;
    this.#machines++;
    const name = String(this.#machines);
    return { add: [{ peerAddress: `peer-${name}`, clientAddress: `client-${name}` }] };
  }
}
