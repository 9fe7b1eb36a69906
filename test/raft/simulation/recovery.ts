/** How a run ends: what a cluster must do once a majority is whole again, and once everything is. */
import type { MemberId } from '../../../src/base/index.ts';
import { KEYS } from './clients.ts';
import type { SimMember } from './member.ts';
import { carries, relevant } from './membership.ts';
import type { Simulation } from './simulation.ts';
import { Violation } from './violation.ts';

const WRITE_WITHIN_MS = 20_000;
const AGREE_WITHIN_MS = 30_000;

/** A majority is whole again while the rest stays as broken as it is: writes must go on. */
export async function mustServeWithQuorum(simulation: Simulation): Promise<void> {
  const core = await quorumOf(simulation);
  for (const member of core) mend(member);
  simulation.network.healAmong(core.map(({ id }) => id));
  for (const member of core) await simulation.start(member);
  if (core.length < simulation.members.length) simulation.counts.add('rest-stayed-broken');
  await mustWrite(simulation, 'a write by a healed majority while the rest is broken', core);
}

/** As few members as may be that are a majority of every configuration that some log still holds. */
async function quorumOf(simulation: Simulation): Promise<readonly SimMember[]> {
  const { members } = simulation;
  const down = members.filter((member) => !member.up);
  await simulation.startAll();
  const configurations = relevant(members);
  const core = new Set(members.filter((member) => !member.refused));
  const damagedLast = [...core].sort(
    (left, right) => Number(right.damage !== undefined) - Number(left.damage !== undefined),
  );
  for (const member of damagedLast) {
    core.delete(member);
    const ids = [...core].map(({ id }) => id);
    if (!carries(configurations, ids)) core.add(member);
  }
  for (const member of down) if (!core.has(member)) simulation.crash(member);
  return [...core];
}

/** After the faults end, the cluster must lead, commit, agree, and have left the old half of a change. */
export async function mustRecover(simulation: Simulation): Promise<void> {
  const { network, members, oracles, loop } = simulation;
  network.faults = { drop: 0, double: 0, straggle: 0 };
  network.heal();
  for (const member of members) mend(member);
  await simulation.startAll();
  await mustWrite(simulation, 'a write after the faults have ended', members);
  const end = loop.nowMs + AGREE_WITHIN_MS;
  while (!agrees(simulation)) {
    if (loop.nowMs >= end) throw new Violation(`not within 30 s: ${isJoint(simulation) ? LEFT : EQUAL}`);
    await simulation.startAll();
    await simulation.advance(20);
  }
  for (const { id, running } of members) {
    // Whoever was removed stays where it was.
    if (running?.state.appliedIndex !== oracles.committedIndex) continue;
    oracles.states.lookAtKeys(id, running.state, KEYS);
  }
  simulation.check();
}

const EQUAL = 'equal state everywhere';
const LEFT = 'one configuration instead of two halves';

function isJoint({ oracles }: Simulation): boolean {
  return oracles.configuration.outgoing.length > 0;
}

function agrees(simulation: Simulation): boolean {
  if (isJoint(simulation)) return false;
  const { members, oracles } = simulation;
  const belongs = (id: MemberId): boolean => {
    return oracles.configuration.members.some((member) => member.id === id);
  };
  const expected = members.filter(({ id, refused }) => !refused && belongs(id));
  return expected.every(({ running }) => running?.state.appliedIndex === oracles.committedIndex);
}

async function mustWrite(simulation: Simulation, what: string, up: readonly SimMember[]): Promise<void> {
  const before = simulation.acknowledged;
  const end = simulation.loop.nowMs + WRITE_WITHIN_MS;
  while (simulation.acknowledged === before) {
    if (simulation.loop.nowMs >= end) throw new Violation(`not within 20 s: ${what}`);
    // A write that was under way when the disk was mended may still end its process.
    for (const member of up) await simulation.start(member);
    if (simulation.chance.hits(0.1)) simulation.load();
    await simulation.advance(20);
  }
}

function mend(member: SimMember): void {
  member.diskMs = 1;
  member.disk.mend();
  member.stateDisk.mend();
  member.afterInstall = undefined;
  member.clock.setRate(1);
  member.wake();
}
