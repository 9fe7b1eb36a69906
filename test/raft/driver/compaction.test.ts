import { describe, expect, test } from 'vitest';
import { LIMITS, logIndex, must } from '../../../src/base/index.ts';
import { DEFAULT_COMPACTION, compactionTarget } from '../../../src/raft/driver/compaction.ts';
import { decodeFrame } from '../../../src/raft/peer-codec.ts';
import { rule } from '../../support/rule.ts';
import { SHORT_LOGS, SmallCluster, type SmallMember } from '../support/small-cluster.ts';

const KIB = 1024;

/** The most entries and bytes that a log ever holds which grows by entries of one size, and what is left. */
function grown(entryBytes: number, bytes: number, needed: readonly number[] = []) {
  const most = { entries: 0, bytes: 0 };
  let base = 0;
  const step = Math.ceil(64 / (entryBytes / KIB));
  for (let last = 0; last * entryBytes < bytes; last += step) {
    const size = (last - base) * entryBytes;
    most.entries = Math.max(most.entries, last - base);
    most.bytes = Math.max(most.bytes, size);
    const [baseIndex, lastIndex] = [logIndex(base), logIndex(last)];
    const extent = { baseIndex, lastIndex, appliedIndex: lastIndex, bytes: size };
    base = compactionTarget(DEFAULT_COMPACTION, extent, needed.map(logIndex)) ?? base;
  }
  return most;
}

describe('a log', () => {
  rule('raft.compactsByCountOnly', 'of large entries is compacted by its bytes', () => {
    for (const entryBytes of [1, 11, 300, 1_024].map((kib) => kib * KIB)) {
      const { entries, bytes } = grown(entryBytes, 2 * LIMITS.raftLogBytesMax);
      expect(entries).toBeLessThan(LIMITS.raftKeepEntries + 2 * LIMITS.raftCompactEntries);
      expect(bytes).toBeLessThan(LIMITS.raftKeepBytes + 2 * LIMITS.raftCompactBytes);
    }
  });

  rule('raft.heldLogUnbounded', 'is kept for a follower within bounds of entries and bytes', () => {
    for (const entryBytes of [1, 300].map((kib) => kib * KIB)) {
      const { entries, bytes } = grown(entryBytes, 2 * LIMITS.raftLogBytesMax, [0]);
      expect(Math.max(entries / LIMITS.raftHoldEntries, bytes / LIMITS.raftHoldBytes)).toBeCloseTo(1, 1);
    }
  });

  test('of entries whose sizes differ is made short in a few steps', () => {
    const sizes = [...Array<number>(40_000).fill(100), ...Array<number>(2_000).fill(512 * KIB)];
    let [base, steps] = [0, 0];
    for (;;) {
      const bytes = sizes.slice(base).reduce((sum, size) => sum + size, 0);
      const at = logIndex(sizes.length);
      const extent = { baseIndex: logIndex(base), lastIndex: at, appliedIndex: at, bytes };
      const target = compactionTarget(DEFAULT_COMPACTION, extent, []);
      if (target === undefined) break;
      base = target;
      steps++;
    }
    expect(steps).toBeLessThan(20);
    expect(sizes.length - base).toBeGreaterThan(900);
    expect(sizes.length - base).toBeLessThan(1_300);
  });
});

interface Left {
  readonly cluster: SmallCluster;
  readonly leader: SmallMember;
  readonly behind: SmallMember;
  readonly base: () => number;
  readonly types: (frame: Uint8Array) => readonly string[];
}

/** A follower that was away until the log of its leader begins after it. */
async function left(): Promise<Left> {
  const cluster = new SmallCluster(3, SHORT_LOGS);
  await cluster.startAll();
  const leader = await cluster.led();
  const others = cluster.members.filter(({ id }) => id !== leader.id);
  const behind = must(others[0], 'a follower');
  const base = (): number => must(leader.driver, 'driver').core.baseIndex;
  cluster.crash(behind);
  await cluster.write(80);
  await cluster.until(() => base() >= 50);
  return { cluster, leader, behind, base, types: (frame) => decodeFrame(frame).map(({ type }) => type) };
}

/** Returns as soon as `to` leads. */
async function moved(cluster: SmallCluster, from: SmallMember, to: SmallMember): Promise<void> {
  const leads = (): boolean => to.driver?.core.role === 'leader';
  void must(from.driver, 'driver').transferLeadership(to.id);
  while (!leads()) await cluster.advance(1);
}

describe('a follower', () => {
  rule(
    'raft.compactsBeforeFollowers',
    'that goes on slowly after a snapshot needs no second one [R43]',
    async () => {
      const { cluster, behind, base, types } = await left();
      await cluster.start(behind);
      await cluster.until(() => behind.stateDisk.installs === 1);
      const installed = behind.state.appliedIndex;
      cluster.loses = (_from, to, frame) => to === behind.id && types(frame).includes('append');
      await cluster.write(60);
      expect(base()).toBeLessThanOrEqual(installed);
      cluster.loses = () => false;
      await cluster.agree();
      expect(behind.stateDisk.installs).toBe(1);
      await cluster.until(() => base() > installed);
    },
  );

  rule(
    'raft.silentFollowersHold',
    'that ends in the middle of a snapshot is waited for in vain only for some seconds [R43]',
    async () => {
      const { cluster, leader, behind, base, types } = await left();
      let pieces = 0;
      cluster.loses = (_from, _to, frame) => types(frame).includes('snapshot-chunk') && ++pieces > 5;
      await cluster.start(behind);
      await cluster.until(() => pieces > 5);
      cluster.crash(behind);
      const [held, goneMs] = [leader.state.appliedIndex, 20 * LIMITS.raftElectionTicks * LIMITS.raftTickMs];
      await cluster.write(60);
      expect(base()).toBeLessThanOrEqual(held);
      await cluster.until(() => leader.state.open === 0 && base() > held + 30, goneMs);
      cluster.loses = () => false;
      await cluster.start(behind);
      await cluster.agree();
      expect(behind.stateDisk.installs).toBe(1);
    },
  );

  rule(
    'raft.snapshotOfOtherTerm',
    'is sent a snapshot by whoever leads anew, though its last lead ended between two ticks',
    async () => {
      const { cluster, leader, behind, types } = await left();
      const other = must(
        cluster.members.find((one) => one !== leader && one !== behind),
        'another follower',
      );
      let pieces = 0;
      let ticked = false;
      cluster.loses = (from, _to, frame) => {
        ticked ||= from === leader.id && types(frame).includes('heartbeat');
        return types(frame).includes('snapshot-chunk') && ++pieces > 3;
      };
      await cluster.start(behind);
      await cluster.until(() => pieces > 3);
      ticked = false;
      while (!ticked) await cluster.advance(1);
      const term = must(leader.driver, 'driver').core.term;
      await moved(cluster, leader, other);
      await moved(cluster, other, leader);
      cluster.loses = () => false;
      await cluster.agree();
      const core = must(leader.driver, 'driver').core;
      expect([core.term, behind.stateDisk.installs]).toEqual([term + 2, 1]);
    },
  );
});
