/** Changes of members in the moments for which their rules are made, where chance would take long. */
import { isTidemarkError, must } from '../../../src/base/index.ts';
import type { MembershipChange } from '../../../src/raft/index.ts';
import type { SimMember } from './member.ts';
import { driverOf, established, part } from './placing.ts';
import { mustRecover } from './recovery.ts';
import { machine, type Simulation } from './simulation.ts';

const FOLLOWED_MS = 5_000;
const ELECTED_MS = 20_000;

/** Asks a leader, which may refuse. */
function ask(simulation: Simulation, leader: SimMember, change: MembershipChange): void {
  driverOf(leader)
    .changeMembership(change)
    .catch((error: unknown) => {
      if (!isTidemarkError(error))
        simulation.oracles.fail(`a change of members failed with ${String(error)}`);
    });
}

/** Asks each millisecond, of which there are so many. */
async function askFor(ms: number, simulation: Simulation, asks: (time: number) => void): Promise<void> {
  for (let time = 0; time < ms; time++) {
    asks(time);
    await simulation.advance(1);
  }
}

/** Waits until a change can be made, and for it. */
async function change(simulation: Simulation, wanted: MembershipChange, holds: () => boolean): Promise<void> {
  await simulation.until(FOLLOWED_MS, 'a change of members', () => {
    const leader = simulation.leader();
    if (!holds() && leader !== undefined) ask(simulation, leader, wanted);
    return holds();
  });
}

/** A cluster of founders 1 to `size` and learners after them, who follow. */
async function withLearners(
  seed: number,
  size: number,
  learners: number,
): Promise<{ simulation: Simulation; leader: SimMember; added: readonly SimMember[] }> {
  const { simulation, leader } = await established(seed, size, learners);
  const added = simulation.members.slice(size);
  const { members } = simulation.oracles.configuration;
  const add = added.map(({ id }) => machine(id));
  await change(simulation, { add }, () => {
    return simulation.oracles.configuration.members.length === members.length + learners;
  });
  await follow(simulation, leader, added);
  // Everybody is to know that they were added.
  await simulation.advance(300);
  return { simulation, leader, added };
}

async function follow(simulation: Simulation, leader: SimMember, who: readonly SimMember[]): Promise<void> {
  await simulation.until(FOLLOWED_MS, 'learners that follow', () => {
    const { followers, commitIndex } = driverOf(leader).status();
    return who.every(({ id }) => {
      const found = followers.find((follower) => follower.id === id);
      return found?.state === 'replicate' && found.match >= commitIndex;
    });
  });
}

/**
 * A leader that is left with two learners is asked to make voters of both, one after the other: three of five
 * would then commit, and the other two of three would elect, without a member in common.
 */
export async function twoChanges(seed: number): Promise<void> {
  const { simulation, leader, added } = await withLearners(seed, 3, 2);
  part(simulation, [leader, ...added]);
  await askFor(200, simulation, (time) => {
    const one = must(added[time % 2], 'a learner');
    ask(simulation, leader, { promote: [one.id] });
  });
  await simulation.advance(5_000);
  await mustRecover(simulation);
}

/**
 * The history of Raft's bug in changes of one voter (Ongaro, raft-dev, 2015). Of four, the leader is cut off
 * with a fifth member that it makes a voter. Another is elected, hears one of the two others only, and is
 * asked to remove the first leader: with a majority of the three that are left it would commit that, while
 * three of five could still elect the first leader.
 */
export async function hastyLeader(seed: number): Promise<void> {
  const { simulation, leader: first, added } = await withLearners(seed, 4, 1);
  const fifth = must(added[0], 'a fifth member');
  part(simulation, [first, fifth]);
  ask(simulation, first, { promote: [fifth.id] });
  const rest = simulation.members.filter((member) => member !== first && member !== fifth);
  let next: SimMember | undefined;
  simulation.onElected = (member) => {
    if (!rest.includes(member)) return;
    next = member;
    // Before its first append arrives, one of the two others is cut off, too.
    part(simulation, [
      must(
        rest.find((other) => other !== member),
        'another',
      ),
    ]);
  };
  await simulation.until(ELECTED_MS, 'another leader', () => next !== undefined);
  const hasty = must(next, 'another leader');
  await askFor(200, simulation, () => {
    ask(simulation, hasty, { remove: [first.id] });
  });
  simulation.onElected = () => undefined;
  await simulation.advance(2_000);
  await mustRecover(simulation);
}

/**
 * A member's machine is set up anew under the id that it had, empty: it does not vote, or its vote and that
 * of a member that was cut off would elect a leader without what was committed.
 */
export async function emptyVoter(seed: number): Promise<void> {
  const { simulation, leader, added } = await withLearners(seed, 3, 1);
  const joined = must(added[0], 'a member that joined');
  const [leaves, late] = simulation.members.filter((member) => member !== leader && member !== joined);
  const [gone, away] = [must(leaves, 'a follower'), must(late, 'another')];
  await change(simulation, { promote: [joined.id], remove: [gone.id] }, () => {
    const { members, outgoing } = simulation.oracles.configuration;
    return outgoing.length === 0 && !members.some(({ id }) => id === gone.id);
  });
  await follow(simulation, leader, [joined, away]);
  part(simulation, [away]);
  const { acknowledged } = simulation;
  void simulation.clients.writeAt(leader);
  await simulation.until(FOLLOWED_MS, 'a write', () => simulation.acknowledged > acknowledged);
  await simulation.replaceByEmpty(joined);
  simulation.network.heal();
  part(simulation, [leader]);
  await simulation.advance(10_000);
  // It must not be left there: once it has learnt something, it would vote without what it has yet to learn.
  const empty = must(
    simulation.members.find(({ id }) => id === joined.id),
    'the empty machine',
  );
  simulation.crash(empty);
  empty.refused = true;
  await mustRecover(simulation);
}
