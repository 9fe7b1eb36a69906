import { expect, test } from 'vitest';
import { must } from '../../../src/base/index.ts';
import { decodeFrame } from '../../../src/raft/peer-codec.ts';
import { Chance } from '../simulation/loop.ts';
import { rule } from '../../support/rule.ts';
import { SHORT_LOGS, SmallCluster } from '../support/small-cluster.ts';

test('a follower that gets a snapshot slowly, while writes go on, needs one and no more [R43]', async () => {
  const cluster = new SmallCluster(3, SHORT_LOGS);
  await cluster.startAll();
  const leader = await cluster.led();
  const behind = must(
    cluster.members.find(({ id }) => id !== leader.id),
    'a follower',
  );
  const base = (): number => must(leader.driver, 'driver').core.baseIndex;
  cluster.crash(behind);
  await cluster.write(80);
  await cluster.until(() => base() >= 50);

  const chance = new Chance(5);
  let lastIndex = 0;
  const streams = new Set<number>();
  cluster.loses = (_from, _to, frame) => {
    for (const message of decodeFrame(frame)) {
      if (message.type !== 'snapshot-chunk') continue;
      streams.add(message.stream);
      ({ lastIndex } = message);
      if (chance.hits(0.25)) return true;
    }
    return false;
  };
  await cluster.start(behind);
  await cluster.until(() => lastIndex > 0);
  while (behind.stateDisk.installs === 0) {
    await cluster.write(1);
    // What comes after the snapshot is kept for the one who gets it.
    expect(base()).toBeLessThanOrEqual(lastIndex);
  }
  const during = base();
  const count = await cluster.write(40);
  await cluster.agree();
  expect([behind.stateDisk.installs, streams.size, behind.state.texts.length]).toEqual([1, 1, count]);
  await cluster.until(() => base() > during);
});

rule(
  'raft.compactsBeforeFollowers',
  'a follower that has the state and not yet the log keeps what it needs of that [R43]',
  async () => {
    const cluster = new SmallCluster(3, SHORT_LOGS);
    await cluster.startAll();
    const leader = await cluster.led();
    const behind = must(
      cluster.members.find(({ id }) => id !== leader.id),
      'a follower',
    );
    cluster.crash(behind);
    await cluster.write(80);
    await cluster.until(() => must(leader.driver, 'driver').core.baseIndex >= 50);
    // It hears heartbeats and says so, and gets nothing of the log.
    cluster.loses = (_from, to, frame) =>
      to === behind.id &&
      behind.stateDisk.installs > 0 &&
      decodeFrame(frame).some((message) => message.type === 'append' && message.entries.length > 0);
    await cluster.start(behind);
    while (behind.stateDisk.installs === 0) await cluster.write(1);
    const count = await cluster.write(60);
    cluster.loses = () => false;
    await cluster.agree();
    expect([behind.stateDisk.installs, behind.state.texts.length]).toEqual([1, count]);
  },
);
