import { describe, expect, test } from 'vitest';
import {
  bridge,
  deafLeader,
  emptyAppend,
  endedLeader,
  halfDeafFollower,
  hangingDisk,
  returningFollower,
  forgottenVote,
  strandedFollower,
  strandedLeader,
  wokenFollower,
  wokenLeader,
} from './simulation/scenarios.ts';
import { Counts } from './simulation/counts.ts';
import { emptyVoter, hastyLeader, twoChanges } from './simulation/member-scenarios.ts';
import { runSeed } from './simulation/run.ts';

/** More: `npm run sim`. */
const SEEDS = 100;
const SHARE = 4;

describe('random faults: every oracle holds after every event, and the cluster recovers', () => {
  const counts = new Counts();

  test.each(Array.from({ length: SHARE }, (_, share) => share))(
    'share %i of the seeds',
    { timeout: 120_000 },
    async (share) => {
      for (let seed = 1 + share; seed <= SEEDS; seed += SHARE) {
        const result = await runSeed({ seed });
        expect(result.violation, `npm run sim -- --seed ${seed}`).toBeUndefined();
        expect(result.acknowledged, `seed ${seed}`).toBeGreaterThan(0);
        counts.addAll(result.counts);
      }
    },
  );

  test('every kind of fault struck, and everything that an oracle waits for came about', () => {
    expect(counts.rare(2)).toEqual([]);
  });

  test('a run is the same when it is done again', async () => {
    const [first, again] = [await runSeed({ seed: 7 }), await runSeed({ seed: 7 })];
    expect(again.trace).toBe(first.trace);
    expect((await runSeed({ seed: 8 })).trace).not.toBe(first.trace);
  });
});

describe('placed faults', () => {
  test.each([
    ['a follower that was cut off disturbs nobody when it returns [R11]', returningFollower],
    ['a leader that hears nobody gives way [R14]', deafLeader],
    ['a follower that hears nobody unseats nobody [R13]', halfDeafFollower],
    ['a bridge between two halves keeps its leader [R12]', bridge],
    ['a follower that was stopped does not campaign over unread heartbeats [R18]', wokenFollower],
    ['a leader whose process ends is followed within half a second', endedLeader],
    ['nobody reads from a leader that was stopped and cut off [R60 R62]', strandedLeader],
    ['nor from a follower that was stopped and cut off with it [R62]', strandedFollower],
    ['a vote whose record is lost is not given again', forgottenVote],
    ['a second change is not begun beside one that is not committed [R46]', twoChanges],
    ['a leader changes nobody before it has committed in its own term [R47]', hastyLeader],
    ['an empty machine under the id of a voter votes for nobody [R52]', emptyVoter],
    ['an append without entries proves nothing of a log that ends otherwise', emptyAppend],
    ['a leader whose disk hangs gives way', hangingDisk],
    ['a leader that was stopped does not believe itself when it wakes [R60]', wokenLeader],
  ])('%s', async (_name, scenario) => {
    for (const seed of [1, 2, 3, 4]) await scenario(seed);
  });
});
