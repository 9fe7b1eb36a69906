/** Faults placed by hand, where chance would take long: each ends in what the cluster must have done. */
import { must } from '../../../src/base/index.ts';
import { HARD_STATE_KEY } from '../../../src/raft/log-store/index.ts';
import { encodeFrame } from '../../../src/raft/peer-codec.ts';
import type { SimMember } from './member.ts';
import { established, others, part, termOf, viewOf } from './placing.ts';
import { mustRecover, mustServeWithQuorum } from './recovery.ts';
import { Simulation } from './simulation.ts';
import { Violation } from './violation.ts';

/** A follower that was cut off comes back: neither leader nor term changes (thesis, section 9.6). */
export async function returningFollower(seed: number): Promise<void> {
  const { simulation, leader } = await established(seed, 3);
  const term = termOf(leader);
  const cut = must(others(simulation, leader.id)[0], 'a follower');
  for (const { id } of others(simulation, cut.id)) {
    simulation.network.block(id, cut.id);
    simulation.network.block(cut.id, id);
  }
  await simulation.advance(10_000);
  simulation.network.heal();
  await simulation.advance(3_000);
  if (simulation.leader() !== leader || termOf(leader) !== term)
    throw new Violation('a returning follower disturbed');
  await mustRecover(simulation);
}

/** A leader that is heard but hears nothing gives way (check-quorum), and the others go on. */
export async function deafLeader(seed: number): Promise<void> {
  const { simulation, leader } = await established(seed, 3);
  for (const { id } of others(simulation, leader.id)) simulation.network.block(id, leader.id);
  await simulation.until(5_000, 'another leader', () => {
    const now = simulation.leader();
    return now !== undefined && now !== leader;
  });
  await mustRecover(simulation);
}

/** A link that works in one direction only does not unseat a leader that hears a quorum. */
export async function halfDeafFollower(seed: number): Promise<void> {
  const { simulation, leader } = await established(seed, 3);
  const deaf = must(others(simulation, leader.id)[0], 'a follower');
  const term = termOf(leader);
  simulation.network.block(leader.id, deaf.id);
  await simulation.advance(10_000);
  if (simulation.leader() !== leader || termOf(leader) !== term)
    throw new Violation('a one-way link unseated the leader');
  await mustRecover(simulation);
}

/** Two halves that meet in one member only keep one leader (Cloudflare, 2020-11-02). */
export async function bridge(seed: number): Promise<void> {
  const { simulation, leader } = await established(seed, 5);
  const term = termOf(leader);
  const [b, c, d] = others(simulation, leader.id).map(({ id }) => id);
  for (const left of [must(c, 'c'), must(d, 'd')]) {
    for (const right of others(simulation, leader.id).map(({ id }) => id)) {
      if (right === c || right === d || right === b) continue;
      simulation.network.block(left, right);
      simulation.network.block(right, left);
    }
  }
  await simulation.advance(10_000);
  if (simulation.leader() !== leader || termOf(leader) !== term)
    throw new Violation('a bridge unseated the leader');
  await mustRecover(simulation);
}

/** A follower stopped for seconds wakes with heartbeats in its socket: it reads them before it judges. */
export async function wokenFollower(seed: number): Promise<void> {
  const { simulation, leader } = await established(seed, 3);
  const term = termOf(leader);
  const sleeper = must(others(simulation, leader.id)[0], 'a follower');
  sleeper.stall(3_000);
  await simulation.advance(5_000);
  const woken = must(sleeper.running, 'the woken member').driver.status();
  if (simulation.leader() !== leader || termOf(leader) !== term || woken.role !== 'follower') {
    throw new Violation('a woken follower campaigned');
  }
  await mustRecover(simulation);
}

/** A leader whose process ends is followed within half a second; each survivor sees the end for itself. */
export async function endedLeader(seed: number): Promise<void> {
  const { simulation, leader } = await established(seed, seed % 2 === 0 ? 3 : 5);
  await simulation.advance(200);
  leader.crash();
  for (const { id } of others(simulation, leader.id)) simulation.network.announceEnd(id, leader.id);
  await simulation.until(500, 'another leader', () => simulation.leader() !== undefined);
  await mustRecover(simulation);
}

/** A leader that was stopped and cut off wakes while another leads: nobody reads old state from it. */
export async function strandedLeader(seed: number): Promise<void> {
  const { simulation, leader } = await established(seed, 3);
  leader.stall(4_000);
  for (const { id } of others(simulation, leader.id)) {
    simulation.network.block(id, leader.id);
    simulation.network.block(leader.id, id);
  }
  const woken = simulation.loop.nowMs + 4_100;
  while (simulation.loop.nowMs < woken + 500) {
    await simulation.advance(10);
    simulation.load();
  }
  await mustRecover(simulation);
  simulation.mustBeLinearizable();
}

/** A follower that was stopped and cut off with its leader asks it when both wake: nobody reads old state. */
export async function strandedFollower(seed: number): Promise<void> {
  const { simulation, leader } = await established(seed, 5);
  const follower = must(others(simulation, leader.id)[0], 'a follower');
  const rest = others(simulation, leader.id).filter((member) => member !== follower);
  for (const stranded of [leader, follower]) {
    stranded.stall(4_000);
    for (const { id } of rest) {
      simulation.network.block(id, stranded.id);
      simulation.network.block(stranded.id, id);
    }
  }
  const woken = simulation.loop.nowMs + 4_000;
  while (simulation.loop.nowMs < woken + 500) {
    const awake = simulation.loop.nowMs >= woken;
    await simulation.advance(awake ? 5 : 50);
    simulation.load();
    if (awake) void simulation.clients.readAt(follower);
  }
  await mustRecover(simulation);
  simulation.mustBeLinearizable();
}

/** A leader whose disk hangs answers heartbeats all the same: it gives way, and writes go on without it. */
export async function hangingDisk(seed: number): Promise<void> {
  const { simulation, leader } = await established(seed, 3);
  leader.diskMs = 60_000;
  simulation.load();
  await simulation.until(10_000, 'another leader', () => {
    simulation.load();
    const now = simulation.leader();
    return now !== undefined && now !== leader;
  });
  const before = simulation.acknowledged;
  await simulation.until(2_000, 'writes under the other leader', () => {
    simulation.load();
    return simulation.acknowledged > before;
  });
  // The write that hangs takes a minute and a half at most.
  leader.diskMs = 1;
  await simulation.advance(90_000);
  await mustRecover(simulation);
}

/** A leader stopped for longer than an election is not `leading` when it wakes, not for one event. */
export async function wokenLeader(seed: number): Promise<void> {
  const { simulation, leader } = await established(seed, 3);
  leader.stall(4_000);
  await simulation.until(4_000, 'another leader', () =>
    others(simulation, leader.id).some(({ running }) => running?.driver.status().leading === true),
  );
  const awake = simulation.loop.nowMs + 4_000;
  while (simulation.loop.nowMs < awake) {
    await simulation.advance(0.25);
    if (leader.running?.driver.status().leading === true)
      throw new Violation('a woken leader believed itself');
    if (simulation.chance.hits(0.02)) simulation.load();
  }
  await mustRecover(simulation);
}

/**
 * A follower whose log ends otherwise gets an append without entries, which proves nothing of that end. Our
 * leaders begin where the logs meet and send none; another implementation's do.
 */
export async function emptyAppend(seed: number): Promise<void> {
  const { simulation, leader: old } = await established(seed, 3);
  const { network } = simulation;
  const [one, two] = others(simulation, old.id);
  const [next, third] = [must(one, 'a follower'), must(two, 'another')];
  await simulation.advance(500);
  const met = must(old.running, 'the old leader').driver.core.lastIndex;
  part(simulation, [old]);
  for (let write = 0; write < 8; write++) void simulation.clients.writeAt(old);
  await simulation.until(20_000, 'another leader', () => {
    const now = simulation.leader();
    return now !== undefined && now !== old;
  });
  const leader = must(simulation.leader(), 'the new leader');
  for (let write = 0; write < 2; write++) void simulation.clients.writeAt(leader);
  await simulation.advance(300);
  // From now on the third one is cut off, and the old leader hears this append alone.
  part(simulation, [leader === next ? third : next]);
  const { term, commitIndex, termAt } = viewOf(leader);
  const prevTerm = must(termAt(met), 'a term');
  const message = {
    type: 'append',
    term,
    prevIndex: met,
    prevTerm,
    commit: commitIndex,
    entries: [],
  } as const;
  network.unblock(old.id, leader.id);
  old.receive(leader.id, encodeFrame([message]));
  await simulation.advance(400);
  network.heal();
  await mustRecover(simulation);
}

/**
 * A member that voted loses the record of it with a restart: it does not vote again, in a term that has a
 * leader already. The member that was cut off is brought back when the leader is cut off.
 */
export async function forgottenVote(seed: number): Promise<void> {
  const simulation = new Simulation(seed, 3);
  const late = must(simulation.members[2], 'a third member');
  part(simulation, [late]);
  await simulation.startAll();
  const leads = ({ running }: SimMember): boolean => running?.driver.core.role === 'leader';
  await simulation.until(20_000, 'a leader by one vote', () => simulation.members.some(leads));
  const leader = must(simulation.members.find(leads), 'the leader');
  const voter = must(
    simulation.members.find((member) => member !== leader && member !== late),
    'who voted',
  );
  simulation.crash(voter);
  voter.disk.forget(HARD_STATE_KEY.toString());
  voter.damage = 'lost-record';
  simulation.network.heal();
  part(simulation, [leader]);
  await simulation.start(voter);
  await simulation.advance(10_000);
  simulation.network.heal();
  await mustServeWithQuorum(simulation);
}
