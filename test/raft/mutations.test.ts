import { afterEach, describe, expect, test } from 'vitest';
import type { MutationName } from '../../src/base/index.ts';
import { setMutation } from '../../src/base/test-build-active.ts';
import { Violation } from './simulation/oracles.ts';
import { deafLeader, returningFollower, strandedLeader } from './simulation/scenarios.ts';
import { simulate } from './simulation/simulation.ts';

/** How many seeds to try from the one that is known to reveal the breach; a change of code moves it. */
const SEARCH = 40;

const BY_CHANCE: readonly (readonly [name: MutationName, seed: number])[] = [
  ['raft.commitOlderTermByCounting', 7],
  ['raft.voteWithoutLogCheck', 7],
  ['raft.voteNotPersisted', 1],
  ['raft.ackBeforePersist', 1],
  ['raft.readIndexBeforeOwnTermCommit', 7],
];

const BY_SCENARIO: readonly (readonly [name: MutationName, run: (seed: number) => Promise<void>])[] = [
  ['raft.noPreVote', returningFollower],
  ['raft.readIndexWithoutQuorum', strandedLeader],
  ['raft.noCheckQuorum', deafLeader],
];

describe('the simulation notices when a rule is switched off', () => {
  let active: MutationName | undefined;

  afterEach(() => {
    if (active !== undefined) setMutation(active, false);
    active = undefined;
  });

  function switchOff(name: MutationName): void {
    active = name;
    setMutation(name, true);
  }

  test.each(BY_CHANCE)('%s', { timeout: 60_000 }, async (name, seed) => {
    switchOff(name);
    let violation: string | undefined;
    for (let at = seed; violation === undefined && at < seed + SEARCH; at++) {
      violation = (await simulate(at, 20_000)).violation;
    }
    expect(violation, `no violation in ${SEARCH} seeds`).toBeDefined();
  });

  test('writes that are not synced', async () => {
    expect((await simulate(1, 20_000, false)).violation).toBeDefined();
  });

  test.each(BY_SCENARIO)('%s', async (name, run) => {
    switchOff(name);
    await expect(run(1)).rejects.toBeInstanceOf(Violation);
  });
});
