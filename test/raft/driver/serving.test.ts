/** What a member answers, and until when: reads, proposals without a quorum, the end of an office. */
import { describe, expect, test, vi } from 'vitest';
import { LIMITS, isTidemarkError, must, term, type ErrorCode } from '../../../src/base/index.ts';
import { encodeFrame } from '../../../src/raft/peer-codec.ts';
import { I } from '../core/harness.ts';
import { SHORT_LOGS, SmallCluster, type SmallMember } from '../support/small-cluster.ts';

const ELECTION_MS = LIMITS.raftElectionTicks * LIMITS.raftTickMs;

async function led(size: number): Promise<{ cluster: SmallCluster; leader: SmallMember }> {
  const cluster = new SmallCluster(size, { ...SHORT_LOGS, keepEntries: 1_000, stepEntries: 1_000 });
  await cluster.startAll();
  return { cluster, leader: await cluster.led() };
}

function watch(promise: Promise<unknown>): { result: unknown } {
  const seen: { result: unknown } = { result: 'open' };
  promise.then(
    (value: unknown) => (seen.result = value),
    (error: unknown) => (seen.result = error),
  );
  return seen;
}

const coded = (code: ErrorCode): unknown =>
  expect.toSatisfy((error: unknown) => isTidemarkError(error, code));

test('a read is answered once this member has applied what it may see [R58]', async () => {
  const { cluster, leader } = await led(3);
  const driver = must(leader.driver, 'driver');
  const apply = leader.state.apply.bind(leader.state);
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  vi.spyOn(leader.state, 'apply').mockImplementation(async (entries) => {
    await gate;
    return apply(entries);
  });
  const written = watch(driver.propose(Buffer.from('seen')));
  await cluster.until(() => driver.core.commitIndex === 2);
  const read = watch(driver.readIndex());
  await cluster.advance(200);
  expect([read.result, written.result]).toEqual(['open', 'open']);
  release();
  await cluster.until(() => read.result !== 'open', 1_000);
  expect(read.result).toBe(2);
  expect(leader.state.texts).toEqual(['seen']);
});

test('without a quorum proposals are bounded and refused at once, then the lead ends [R14 R33]', async () => {
  const { cluster, leader } = await led(3);
  const driver = must(leader.driver, 'driver');
  cluster.loses = () => true;
  const one = new Uint8Array(LIMITS.raftEntryBytesMax);
  const taken = Array.from({ length: LIMITS.raftUncommittedBytesMax / one.length }, () =>
    watch(driver.propose(one)),
  );
  await cluster.advance(50);
  await expect(driver.propose(Buffer.from('more'))).rejects.toEqual(coded('OVERLOADED'));
  expect(taken.map(({ result }) => result)).toEqual(taken.map(() => 'open'));
  await cluster.advance(ELECTION_MS + LIMITS.raftTickMs);
  await expect(driver.propose(Buffer.from('late'))).rejects.toEqual(coded('NOT_LEADER'));
  for (const { result } of taken) expect(result).toEqual(coded('OUTCOME_UNKNOWN'));
});

describe('a message of a later term', () => {
  test('ends the office in the same turn: status, proposals and reads hear of it at once [R75]', async () => {
    const { cluster, leader } = await led(3);
    const driver = must(leader.driver, 'driver');
    cluster.loses = () => true;
    const [proposal, read] = [watch(driver.propose(Buffer.from('a'))), watch(driver.readIndex())];
    await cluster.advance(1);
    const told: string[] = [];
    cluster.onStatus = (id, { role, leading }) => {
      if (id === leader.id) told.push(`${role} ${String(leading)}`);
    };
    const other = must(
      cluster.members.find(({ id }) => id !== leader.id),
      'another member',
    ).id;
    const later = term(driver.core.term + 1);
    const beat = { type: 'heartbeat', term: later, commit: I(0), round: 0 } as const;
    must(leader.receive, 'a running member')(other, encodeFrame([beat]));
    expect(told).toEqual(['follower false']);
    await Promise.resolve();
    expect(proposal.result).toEqual(coded('OUTCOME_UNKNOWN'));
    expect(read.result).toEqual(coded('NOT_LEADER'));
  });
});
