import { describe, expect, test } from 'vitest';
import {
  bridge,
  deafLeader,
  endedLeader,
  halfDeafFollower,
  hangingDisk,
  returningFollower,
  strandedLeader,
  wokenFollower,
  wokenLeader,
} from './simulation/scenarios.ts';
import { simulate } from './simulation/simulation.ts';

/** A longer search: `TIDEMARK_SIM_SEEDS=1000 npx vitest run test/raft/simulation.test.ts`. */
const SEEDS = Number(process.env['TIDEMARK_SIM_SEEDS'] ?? 8);
const FIRST = Number(process.env['TIDEMARK_SIM_FIRST'] ?? 1);
const VIRTUAL_MS = 20_000;

test(
  'random faults: every oracle holds after every event, and the cluster recovers',
  { timeout: 30_000 + SEEDS * 5_000 },
  async () => {
    let [crashes, acknowledged, reads] = [0, 0, 0];
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const result = await simulate(seed, VIRTUAL_MS);
      expect(result.violation, `seed ${seed}`).toBeUndefined();
      crashes += result.crashes;
      acknowledged += result.acknowledged;
      reads += result.reads;
    }
    // A run in which nothing happened would prove nothing.
    expect(Math.min(crashes, acknowledged / 100, reads / 100)).toBeGreaterThan(SEEDS / 2);
  },
);

describe('placed faults', () => {
  test.each([
    ['a follower that was cut off disturbs nobody when it returns', returningFollower],
    ['a leader that hears nobody gives way', deafLeader],
    ['a follower that hears nobody unseats nobody', halfDeafFollower],
    ['a bridge between two halves keeps its leader', bridge],
    ['a follower that was stopped does not campaign over unread heartbeats', wokenFollower],
    ['a leader whose process ends is followed within half a second', endedLeader],
    ['nobody reads from a leader that was stopped and cut off', strandedLeader],
    ['a leader whose disk hangs gives way', hangingDisk],
    ['a leader that was stopped does not believe itself when it wakes', wokenLeader],
  ])('%s', async (_name, scenario) => {
    for (const seed of [1, 2, 3, 4]) await scenario(seed);
  });
});
