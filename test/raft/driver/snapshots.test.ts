import { describe, expect, test } from 'vitest';
import { must } from '../../../src/base/index.ts';
import type { RaftDriver } from '../../../src/raft/driver/index.ts';
import { decodeFrame } from '../../../src/raft/peer-codec.ts';
import { Chance } from '../simulation/loop.ts';
import { rule } from '../../support/rule.ts';
import { SHORT_LOGS, SmallCluster, type SmallMember } from '../support/small-cluster.ts';

async function started(size: number): Promise<SmallCluster> {
  const cluster = new SmallCluster(size, SHORT_LOGS);
  await cluster.startAll();
  return cluster;
}

function follower(cluster: SmallCluster, leader: SmallMember, at = 0): SmallMember {
  const others = cluster.members.filter(({ id }) => id !== leader.id);
  return must(others[at], 'a follower');
}

const baseOf = ({ driver }: SmallMember): number => must(driver, 'a running member').core.baseIndex;
const texts = (count: number): readonly string[] => Array.from({ length: count }, (_, at) => `t${at}`);
const isChunk = (frame: Uint8Array): boolean =>
  decodeFrame(frame).some(({ type }) => type === 'snapshot-chunk');

describe('the log', () => {
  rule(
    'raft.compactBeforeFlush',
    'loses its beginning once the state is on disk, and keeps a tail [R39]',
    async () => {
      const cluster = await started(1);
      const count = await cluster.write(60);
      const [member] = cluster.members;
      const only = must(member, 'the member');
      await cluster.until(() => baseOf(only) >= 40);
      expect(must(only.driver, 'driver').core.lastIndex - baseOf(only)).toBeGreaterThanOrEqual(5);
      cluster.crash(only);
      await cluster.start(only);
      await cluster.agree();
      expect(only.state.texts).toEqual(texts(count));
      await cluster.write(30);
      await cluster.agree();
    },
  );

  rule('raft.compactsByCountOnly', 'loses its beginning also when few entries weigh much', async () => {
    const policy = {
      ...SHORT_LOGS,
      keepEntries: 1_000,
      keepBytes: 20_000,
      stepEntries: 1_000,
      stepBytes: 10_000,
    };
    const cluster = new SmallCluster(1, policy, { textBytes: 2_000 });
    await cluster.startAll();
    await cluster.write(40);
    const [only] = cluster.members;
    await cluster.until(() => baseOf(must(only, 'the member')) > 10, 1_000);
  });

  test('is not forgotten beyond what a slow follower can still be given from it', async () => {
    const cluster = await started(3);
    const leader = await cluster.led();
    await cluster.write(8);
    const slow = follower(cluster, leader);
    cluster.crash(slow);
    await cluster.write(4);
    await cluster.start(slow);
    await cluster.agree();
    expect(slow.stateDisk.installs).toBe(0);
  });
});

describe('a member whose state was emptied and whose log is whole', () => {
  test.each(['beside the same leader', 'that led', 'which crashes once more'])(
    '%s gets the state from the others, and answers nothing before',
    async (kind) => {
      const cluster = await started(3);
      const leader = await cluster.led();
      await cluster.write(80);
      await cluster.agree();
      await cluster.until(() => cluster.members.every((member) => baseOf(member) >= 50));
      const emptied = kind === 'that led' ? leader : follower(cluster, leader);
      cluster.crash(emptied);
      emptied.stateDisk.lose();
      if (kind === 'that led') await cluster.led();
      await cluster.start(emptied);
      const driver = (): RaftDriver => must(emptied.driver, 'driver');
      await cluster.until(() => driver().core.leaderId !== undefined);
      expect(driver().core.lacksState).toBe(true);
      await expect(driver().readIndex()).rejects.toMatchObject({ code: 'NOT_LEADER' });
      if (kind === 'which crashes once more') {
        while (emptied.stateDisk.installs === 0) await cluster.advance(0.25);
        cluster.crash(emptied);
        await cluster.start(emptied);
      }
      // Nothing is written meanwhile: the snapshot ends where the log of this member does.
      await cluster.until(() => !driver().core.lacksState);
      const count = await cluster.write(20);
      await cluster.agree();
      expect(emptied.stateDisk.installs).toBe(1);
      expect(emptied.state.texts).toEqual(texts(count));
    },
  );
});

describe('a follower that needs what was forgotten', () => {
  async function left(cluster: SmallCluster): Promise<{ behind: SmallMember; leader: SmallMember }> {
    const leader = await cluster.led();
    const behind = follower(cluster, leader);
    cluster.crash(behind);
    await cluster.write(80);
    await cluster.until(() => baseOf(leader) >= 50);
    return { behind, leader };
  }

  test('gets the state, and then the log', async () => {
    const cluster = await started(3);
    const { behind, leader } = await left(cluster);
    await cluster.start(behind);
    const count = await cluster.write(5);
    await cluster.agree();
    expect(behind.stateDisk.installs).toBe(1);
    expect(behind.state.texts).toEqual(texts(count));
    expect(must(leader.driver, 'driver').core.role).toBe('leader');
    cluster.crash(behind);
    await cluster.start(behind);
    await cluster.write(3);
    await cluster.agree();
  });

  test('gets it over a link that loses a third of all frames', async () => {
    const cluster = await started(3);
    const { behind } = await left(cluster);
    const chance = new Chance(7);
    cluster.loses = (from, to) => (from === behind.id || to === behind.id) && chance.hits(0.33);
    await cluster.start(behind);
    await cluster.agree();
    expect(behind.stateDisk.installs).toBe(1);
    expect(behind.state.texts).toEqual(texts(80));
  });

  test('goes on where it was after a break, without beginning anew [R44]', async () => {
    const cluster = await started(3);
    const { behind } = await left(cluster);
    const offsets: number[] = [];
    let cut = false;
    cluster.loses = (_from, _to, frame) => {
      for (const message of decodeFrame(frame))
        if (message.type === 'snapshot-chunk' && !cut) offsets.push(message.offset);
      cut = offsets.length === 5 && cluster.loop.nowMs < restored;
      return cut && isChunk(frame);
    };
    const restored = cluster.loop.nowMs + 3_000;
    await cluster.start(behind);
    await cluster.agree();
    expect(offsets.filter((offset) => offset === 0)).toHaveLength(1);
    expect(behind.stateDisk.installs).toBe(1);
  });

  test('begins anew with a new leader, and mixes nothing [R44]', async () => {
    const cluster = await started(3);
    const { behind, leader } = await left(cluster);
    let pieces = 0;
    cluster.loses = (_from, _to, frame) => isChunk(frame) && ++pieces > 5;
    await cluster.start(behind);
    await cluster.until(() => pieces > 5);
    cluster.crash(leader);
    cluster.loses = () => false;
    const count = await cluster.write(3);
    await cluster.start(leader);
    await cluster.agree();
    expect(behind.state.texts).toEqual(texts(count));
  });

  test('whose process ends between replacing the state and the log starts with both [R40]', async () => {
    const cluster = await started(3);
    const { behind } = await left(cluster);
    await cluster.start(behind);
    while (behind.stateDisk.installs === 0) await cluster.advance(0.25);
    cluster.crash(behind);
    expect(behind.state.appliedIndex).toBeGreaterThan(50);
    await cluster.start(behind);
    const count = await cluster.write(3);
    await cluster.agree();
    expect(behind.state.texts).toEqual(texts(count));
  });
});

describe('a follower that never catches up', () => {
  /** How many streams it is sent in half a minute in which it refuses them all. */
  async function refuses(cluster: SmallCluster, behind: SmallMember): Promise<number> {
    const streams = new Set<number>();
    cluster.loses = (_from, _to, frame) => {
      for (const message of decodeFrame(frame))
        if (message.type === 'snapshot-chunk') streams.add(message.stream);
      return false;
    };
    behind.stateDisk.refuses = true;
    await cluster.start(behind);
    await cluster.advance(30_000);
    behind.stateDisk.refuses = false;
    expect(cluster.warnings.some((text) => text.includes('refused the snapshot'))).toBe(true);
    await cluster.agree();
    return streams.size;
  }

  rule(
    'raft.refusedSnapshotAtOnce',
    'since it refuses what it is sent, is sent it less and less',
    async () => {
      const cluster = await started(3);
      const leader = await cluster.led();
      const behind = follower(cluster, leader);
      cluster.crash(behind);
      await cluster.write(80);
      await cluster.until(() => baseOf(leader) > behind.state.appliedIndex + 20);
      const count = await refuses(cluster, behind);
      expect([count > 3, count < 8]).toEqual([true, true]);
    },
  );

  test('since it refuses what it is sent for its lost state, too', async () => {
    const cluster = await started(3);
    const emptied = follower(cluster, await cluster.led());
    await cluster.write(80);
    await cluster.until(() => baseOf(emptied) >= 50);
    cluster.crash(emptied);
    emptied.stateDisk.lose();
    const count = await refuses(cluster, emptied);
    expect([count > 3, count < 8]).toEqual([true, true]);
  });

  rule(
    'raft.repeatedSnapshotsUnnoticed',
    'is an alarm at the third snapshot, until it has [R43]',
    async () => {
      const cluster = await started(3);
      const leader = await cluster.led();
      const behind = follower(cluster, leader);
      const inARow = (): number => {
        const { followers } = must(leader.driver, 'driver').status();
        return must(
          followers.find(({ id }) => id === behind.id),
          'the follower',
        ).snapshots;
      };
      let pieces = 0;
      cluster.loses = (_from, _to, frame) => {
        pieces += isChunk(frame) ? 1 : 0;
        return false;
      };
      cluster.crash(behind);
      await cluster.write(80);
      await cluster.until(() => baseOf(leader) >= 50);
      for (let round = 1; round <= 3; round++) {
        // Before it has all of it, its process ends again.
        pieces = 0;
        cluster.crash(behind);
        await cluster.start(behind);
        await cluster.until(() => inARow() === round && pieces >= 5, 5_000);
      }
      const alarms = cluster.warnings.filter((text) => text.includes('never catches up'));
      expect(alarms.length).toBeGreaterThan(0);
      expect(inARow()).toBe(3);
      await cluster.agree();
      await cluster.until(() => inARow() === 0);
      expect(cluster.warnings.filter((text) => text.includes('never catches up'))).toEqual(alarms);
    },
  );
});
