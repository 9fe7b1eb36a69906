import { afterEach, describe, expect, test } from 'vitest';
import { LIMITS, isTidemarkError, must, type ErrorCode } from '../../../src/base/index.ts';
import { armFailpoint, disarmFailpoint } from '../../../src/base/test-build-active.ts';
import type { RaftDriver } from '../../../src/raft/driver/index.ts';
import { rule } from '../../support/rule.ts';
import type { SimMember } from '../simulation/member.ts';
import { Simulation } from '../simulation/simulation.ts';

afterEach(() => {
  disarmFailpoint('raft.beforePersist');
  disarmFailpoint('raft.afterPersist');
});

const bytes = (text: string): Uint8Array => Buffer.from(text);
const code = (wanted: ErrorCode): unknown =>
  expect.toSatisfy((error: unknown) => isTidemarkError(error, wanted));

interface Led {
  readonly simulation: Simulation;
  readonly leader: SimMember;
  readonly driver: RaftDriver;
}

async function led(size: number): Promise<Led> {
  const simulation = new Simulation(1, size);
  await simulation.startAll();
  await simulation.until(5_000, 'a leader', () => simulation.leader() !== undefined);
  const leader = must(simulation.leader(), 'leader');
  return { simulation, leader, driver: must(leader.running, 'a running member').driver };
}

/** Watches a promise without waiting for it. */
function watch(promise: Promise<unknown>): { result: unknown } {
  const seen: { result: unknown } = { result: 'open' };
  promise.then(
    (value: unknown) => {
      seen.result = value;
    },
    (error: unknown) => {
      seen.result = error;
    },
  );
  return seen;
}

describe('a proposal', () => {
  test('that is too large is refused', async () => {
    const { driver } = await led(1);
    const large = new Uint8Array(LIMITS.raftEntryBytesMax + 1);
    await expect(driver.propose(large)).rejects.toEqual(code('MESSAGE_TOO_LARGE'));
  });

  test('is refused while too many wait, and taken again when they are done', async () => {
    const { simulation, leader, driver } = await led(1);
    leader.diskMs = 200;
    const waiting = Array.from({ length: LIMITS.raftProposalsQueuedMax }, (_, at) =>
      driver.propose(bytes(`w${at}`)),
    );
    await expect(driver.propose(bytes('one more'))).rejects.toEqual(code('OVERLOADED'));
    await simulation.advance(2_000);
    await Promise.all(waiting);
    const again = watch(driver.propose(bytes('again')));
    await simulation.advance(2_000);
    expect(again.result).toMatchObject({ reply: bytes('again') });
  });

  rule(
    'raft.uncommittedUnbounded',
    'fails at once when too many bytes wait for a lost quorum [R33]',
    async () => {
      const { simulation, leader, driver } = await led(3);
      for (const { id } of simulation.members) simulation.network.block(leader.id, id);
      const one = new Uint8Array(LIMITS.raftEntryBytesMax);
      for (let at = 0; at < LIMITS.raftUncommittedBytesMax / one.length; at++) watch(driver.propose(one));
      const refused = watch(driver.propose(bytes('one more')));
      await Promise.resolve();
      expect(refused.result).toEqual(code('OVERLOADED'));
    },
  );

  test('under way when the lead is lost is of unknown outcome; not appended, was refused [R68]', async () => {
    const { simulation, leader, driver } = await led(3);
    for (const { id } of simulation.members) simulation.network.block(id, leader.id);
    await simulation.advance(10);
    const underWay = watch(driver.propose(bytes('lost')));
    const read = watch(driver.readIndex());
    await simulation.advance(2_000);
    expect(underWay.result).toEqual(code('OUTCOME_UNKNOWN'));
    expect(read.result).toEqual(code('NOT_LEADER'));
    await expect(driver.propose(bytes('late'))).rejects.toEqual(code('NOT_LEADER'));
  });

  test('gathered while the disk writes share the next write', async () => {
    const { simulation, leader, driver } = await led(1);
    leader.diskMs = 100;
    const results = [watch(driver.propose(bytes('a')))];
    await simulation.advance(10);
    for (let at = 0; at < 50; at++) {
      results.push(watch(driver.propose(bytes(`b${at}`))));
      await simulation.advance(0.1);
    }
    // Two writes at their slowest: the first one's, and one for all others.
    await simulation.advance(2 * 150);
    for (const { result } of results) expect(result).toHaveProperty('index');
  });
});

describe('the disk', () => {
  test('that fails ends the node: nothing is answered, nothing is tried again [R28]', async () => {
    const { simulation, leader, driver } = await led(1);
    leader.disk.full = true;
    const proposal = watch(driver.propose(bytes('a')));
    await simulation.advance(100);
    expect(leader.running).toBeUndefined();
    expect(proposal.result).toEqual(code('OUTCOME_UNKNOWN'));
    await expect(driver.propose(bytes('b'))).rejects.toEqual(code('STOPPING'));
  });

  test.each(['raft.beforePersist', 'raft.afterPersist'] as const)(
    'held at %s holds the answer [R17 R27]',
    async (name) => {
      const { simulation, driver } = await led(1);
      armFailpoint({ name, action: 'pause' });
      const proposal = watch(driver.propose(bytes('a')));
      await simulation.advance(500);
      expect(proposal.result).toBe('open');
      disarmFailpoint(name);
      await simulation.advance(500);
      expect(proposal.result).toHaveProperty('index');
    },
  );
});

describe('a leader whose disk hangs', () => {
  rule('raft.noDiskWatch', 'hands over before a silent one would be replaced', async () => {
    const { simulation, leader, driver } = await led(3);
    leader.diskMs = 60_000;
    const proposal = watch(driver.propose(bytes('a')));
    const others = simulation.members.filter((one) => one !== leader);
    const another = (): boolean => others.some(({ running }) => running?.driver.status().leading === true);
    await simulation.until(1_600, 'another leader', another);
    expect(proposal.result).toEqual(code('OUTCOME_UNKNOWN'));
  });

  test('keeps the lead where all disks are slow', async () => {
    const { simulation, leader, driver } = await led(3);
    const { term } = driver.core;
    for (const member of simulation.members) member.diskMs = 800;
    for (let at = 0; at < 20; at++) {
      watch(driver.propose(bytes(`slow ${at}`)));
      await simulation.advance(1_000);
    }
    expect([simulation.leader(), driver.core.term]).toEqual([leader, term]);
  });
});

test('a node that stops refuses what is new and says what is unknown', async () => {
  const { simulation, driver } = await led(1);
  await simulation.advance(100);
  const queued = watch(driver.propose(bytes('a')));
  await driver.stop();
  expect(queued.result).toEqual(code('STOPPING'));
  await expect(driver.propose(bytes('b'))).rejects.toEqual(code('STOPPING'));
  await expect(driver.readIndex()).rejects.toEqual(code('STOPPING'));
  expect(driver.status().leading).toBe(false);
});

test('a node that has known no leader for long has nobody wait', async () => {
  const { simulation, leader } = await led(3);
  const driver = must(leader.running, 'a running member').driver;
  for (const { id } of simulation.members) {
    simulation.network.block(id, leader.id);
    simulation.network.block(leader.id, id);
  }
  await simulation.until(3_000, 'the end of its lead', () => driver.settled() !== undefined);
  const settled = watch(must(driver.settled(), 'something to wait for'));
  await simulation.advance(400);
  expect(settled.result).toBe('open');
  await simulation.advance(200);
  expect([settled.result, driver.settled()]).toEqual([undefined, undefined]);
});

describe('handing over the lead', () => {
  test('takes a few round trips; what was proposed meanwhile was refused or is committed', async () => {
    const { simulation, leader, driver } = await led(3);
    const before = watch(driver.propose(bytes('before')));
    await simulation.advance(10);
    const moved = watch(driver.transferLeadership());
    const meanwhile = watch(driver.propose(bytes('meanwhile')));
    await simulation.advance(50);
    expect(before.result).toHaveProperty('index');
    expect(meanwhile.result).toEqual(code('NOT_LEADER'));
    // That the new leader has committed is heard with its next heartbeat.
    await simulation.advance(LIMITS.raftHeartbeatTicks * LIMITS.raftTickMs);
    expect(moved.result).toBeUndefined();
    expect(must(simulation.leader(), 'another leader').id).not.toBe(leader.id);
  });

  rule(
    'raft.transferTakesProposals',
    'holds back proposals and reads until it has failed [R61]',
    async () => {
      const { simulation, leader, driver } = await led(3);
      const [target, other] = simulation.members.filter(({ id }) => id !== leader.id);
      simulation.network.block(leader.id, must(target, 'target').id);
      const moved = watch(driver.transferLeadership(target?.id));
      const proposal = watch(driver.propose(bytes('a')));
      const read = watch(driver.readIndex());
      await simulation.advance(300);
      expect([proposal.result, read.result, moved.result]).toEqual(['open', 'open', 'open']);
      expect(driver.status().leading).toBe(false);
      await simulation.advance(700);
      expect(moved.result).toEqual(code('TRANSFER_FAILED'));
      expect(proposal.result).toHaveProperty('index');
      expect(read.result).not.toBe('open');
      expect(simulation.leader()?.id).toBe(leader.id);
      expect(other?.running?.driver.core.term).toBe(driver.core.term);
    },
  );

  test('has callers wait until it is known who leads, and ends when that one has committed', async () => {
    const { simulation, leader, driver } = await led(3);
    expect(driver.settled()).toBeUndefined();
    const moved = watch(driver.transferLeadership());
    const settled = watch(must(driver.settled(), 'something to wait for'));
    await simulation.until(1_000, 'a new leader', () => settled.result !== 'open');
    const { leaderId, term } = driver.status();
    expect(leaderId).not.toBe(leader.id);
    await simulation.until(1_000, 'the end of the hand-over', () => moved.result !== 'open');
    expect([driver.settled(), driver.core.termAt(driver.core.commitIndex)]).toEqual([undefined, term]);
  });

  test('to nobody is refused', async () => {
    const { driver } = await led(1);
    await expect(driver.transferLeadership()).rejects.toEqual(code('TRANSFER_FAILED'));
  });

  test('comes first when a leader stops', async () => {
    const { simulation, leader, driver } = await led(3);
    const stopped = watch(driver.stop());
    await simulation.advance(50 + LIMITS.raftHeartbeatTicks * LIMITS.raftTickMs);
    expect(stopped.result).toBeUndefined();
    expect(must(simulation.leader(), 'another leader').id).not.toBe(leader.id);
  });
});

describe('the time of writes', () => {
  test('is measured from the hand-over to the disk until it is durable', async () => {
    const { simulation, leader, driver } = await led(1);
    leader.diskMs = 40;
    const before = driver.writeTimes().count;
    const proposal = driver.propose(bytes('slow'));
    await simulation.advance(100);
    await proposal;
    const { count, p99Ms } = driver.writeTimes();
    expect(count).toBe(before + 1);
    // The simulated disk takes half to one and a half times what it is told.
    expect(p99Ms).toBeGreaterThan(20);
    expect(p99Ms).toBeLessThan(60);
  });
});
