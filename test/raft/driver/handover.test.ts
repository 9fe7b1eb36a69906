import { expect, test } from 'vitest';
import { isTidemarkError, must } from '../../../src/base/index.ts';
import { decodeFrame } from '../../../src/raft/peer-codec.ts';
import { SHORT_LOGS, SmallCluster, type SmallMember } from '../support/small-cluster.ts';

interface Led {
  readonly cluster: SmallCluster;
  readonly leader: SmallMember;
  readonly other: SmallMember;
}

async function led(): Promise<Led> {
  const cluster = new SmallCluster(3, SHORT_LOGS);
  await cluster.startAll();
  const leader = await cluster.led();
  await cluster.write(1);
  const other = must(
    cluster.members.find(({ id }) => id !== leader.id),
    'a follower',
  );
  return { cluster, leader, other };
}

/** What became of a transfer, as far as it is known. */
function transfer(from: SmallMember, to: SmallMember): { outcome: unknown } {
  const seen: { outcome: unknown } = { outcome: 'open' };
  const over = (outcome: unknown): void => {
    seen.outcome = outcome;
  };
  must(from.driver, 'driver')
    .transferLeadership(to.id)
    .then(() => {
      over('done');
    }, over);
  return seen;
}

test('a transfer after which nobody leads has failed', async () => {
  const { cluster, leader, other } = await led();
  cluster.loses = (_from, _to, frame) =>
    decodeFrame(frame).some(({ type }) => type === 'vote-reply' || type === 'pre-vote');
  const given = transfer(leader, other);
  await cluster.until(() => given.outcome !== 'open');
  expect(leader.driver?.core.role).not.toBe('leader');
  expect(given.outcome).toSatisfy((error) => isTidemarkError(error, 'TRANSFER_FAILED'));
});

test('a transfer is done, although the lead came back at once', async () => {
  const { cluster, leader, other } = await led();
  const given = transfer(leader, other);
  while (other.driver?.core.role !== 'leader') await cluster.advance(1);
  transfer(other, leader);
  await cluster.until(() => given.outcome !== 'open');
  expect([given.outcome, leader.driver?.core.role]).toEqual(['done', 'leader']);
});
