/** What scenarios place their faults with. */
import { must, type MemberId } from '../../../src/base/index.ts';
import type { CoreView, RaftDriver } from '../../../src/raft/driver/index.ts';
import type { SimMember } from './member.ts';
import { Simulation } from './simulation.ts';

const LEADER_MS = 5_000;

/** Returns a cluster that has a leader, and machines beside it if there are to be any. */
export async function established(
  seed: number,
  size: number,
  spares = 0,
): Promise<{ simulation: Simulation; leader: SimMember }> {
  const simulation = new Simulation(seed, size, { spares });
  await simulation.startAll();
  await simulation.until(LEADER_MS, 'a first leader', () => simulation.leader() !== undefined);
  return { simulation, leader: must(simulation.leader(), 'leader') };
}

export function driverOf({ running }: SimMember): RaftDriver {
  return must(running, 'a running member').driver;
}

export function termOf(member: SimMember): number {
  return driverOf(member).core.term;
}

export function viewOf(member: SimMember): Pick<CoreView, 'term' | 'commitIndex' | 'termAt'> {
  const { core } = driverOf(member);
  const { term, commitIndex } = core;
  return { term, commitIndex, termAt: (index) => core.termAt(index) };
}

export function others(simulation: Simulation, id: MemberId): readonly SimMember[] {
  return simulation.members.filter((member) => member.id !== id);
}

/** No frame passes between these members and the rest. */
export function part(simulation: Simulation, together: readonly SimMember[]): void {
  const { members, network } = simulation;
  for (const one of together) {
    for (const other of members.filter((member) => !together.includes(member))) {
      network.block(one.id, other.id);
      network.block(other.id, one.id);
    }
  }
}
