import { expect, test } from 'vitest';
import { isTidemarkError, must, type ErrorCode } from '../../../src/base/index.ts';
import type { RaftDriver } from '../../../src/raft/driver/index.ts';
import { decodeFrame } from '../../../src/raft/peer-codec.ts';
import type { SimMember } from '../simulation/member.ts';
import { Simulation } from '../simulation/simulation.ts';

interface Cluster {
  readonly simulation: Simulation;
  readonly leader: SimMember;
  readonly follower: SimMember;
}

async function cluster(): Promise<Cluster> {
  const simulation = new Simulation(1, 3);
  await simulation.startAll();
  await simulation.until(5_000, 'a leader', () => simulation.leader() !== undefined);
  const leader = must(simulation.leader(), 'leader');
  const follower = must(
    simulation.members.find(({ id }) => id !== leader.id),
    'follower',
  );
  await simulation.advance(200);
  return { simulation, leader, follower };
}

const driverOf = (member: SimMember): RaftDriver => must(member.running, 'a running member').driver;

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

const code = (wanted: ErrorCode): unknown =>
  expect.toSatisfy((error: unknown) => isTidemarkError(error, wanted));

test('a follower reads what was acknowledged before, once it has applied it [R58]', async () => {
  const { simulation, leader, follower } = await cluster();
  const written = watch(driverOf(leader).propose(Buffer.from('a')));
  await simulation.until(1_000, 'the write', () => written.result !== 'open');
  const read = watch(driverOf(follower).readIndex());
  await simulation.advance(100);
  expect(read.result).toBeGreaterThanOrEqual((written.result as { index: number }).index);
  expect(driverOf(follower).status().appliedIndex).toBeGreaterThanOrEqual(Number(read.result));
});

test('all reads of a turn are one question', async () => {
  const { simulation, leader, follower } = await cluster();
  let questions = 0;
  simulation.network.onWire((from, to, frame) => {
    if (from !== follower.id || to !== leader.id) return;
    questions += decodeFrame(frame).filter(({ type }) => type === 'read-request').length;
  });
  const reads = Array.from({ length: 500 }, () => watch(driverOf(follower).readIndex()));
  await simulation.advance(40);
  for (const { result } of reads) expect(result).toBeTypeOf('number');
  expect(questions).toBe(1);
});

test('a read whose answers are lost ends with NOT_LEADER, and names the leader', async () => {
  const { simulation, leader, follower } = await cluster();
  const driver = driverOf(follower);
  const drop = (): void => {
    simulation.network.block(follower.id, leader.id);
  };
  drop();
  const read = watch(driver.readIndex());
  await simulation.advance(1_000);
  expect(read.result).toBe('open');
  await simulation.advance(600);
  expect(read.result).toEqual(code('NOT_LEADER'));
  expect(read.result).toHaveProperty('details.leaderId', String(leader.id));
  simulation.network.heal();
  const again = watch(driver.readIndex());
  await simulation.advance(100);
  expect(again.result).toBeTypeOf('number');
});

test('a read outlives a transfer: it is asked of the next leader', async () => {
  const { simulation, leader, follower } = await cluster();
  const third = must(
    simulation.members.find(({ id }) => id !== leader.id && id !== follower.id),
    'third',
  );
  const moved = watch(driverOf(leader).transferLeadership(third.id));
  const reads = [watch(driverOf(follower).readIndex())];
  for (let at = 0; at < 20; at++) {
    await simulation.advance(10);
    if (driverOf(follower).core.role === 'follower') reads.push(watch(driverOf(follower).readIndex()));
  }
  await simulation.advance(200);
  expect(moved.result).toBeUndefined();
  expect(simulation.leader()).toBe(third);
  const answered = reads.filter(({ result }) => typeof result === 'number');
  const refused = reads.filter(({ result }) => isTidemarkError(result, 'NOT_LEADER'));
  expect(answered.length + refused.length).toBe(reads.length);
  expect(answered.length).toBeGreaterThan(reads.length / 2);
});

test('reads end with a code when the leader is lost, and when this node stops', async () => {
  const { simulation, leader, follower } = await cluster();
  const driver = driverOf(follower);
  simulation.crash(leader);
  const lost = watch(driver.readIndex());
  await simulation.advance(2_000);
  expect(lost.result).toEqual(code('NOT_LEADER'));
  await simulation.until(5_000, 'another leader', () => simulation.leader() !== undefined);
  // A leader that stops hands over and sends its readers on: the other one is asked.
  const led = simulation.leader();
  const other = must(
    simulation.members.find((one) => one !== leader && one !== led),
    'the other follower',
  );
  const last = watch(driverOf(other).readIndex());
  const stopped = watch(driverOf(other).stop());
  await simulation.until(5_000, 'the end', () => stopped.result !== 'open');
  expect(last.result).toEqual(code('STOPPING'));
});
