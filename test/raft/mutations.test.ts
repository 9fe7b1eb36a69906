import { describe, expect, test } from 'vitest';
import { runSeed } from './simulation/run.ts';
import { SEEDED_BUGS, find } from './simulation/seeded-bugs.ts';

/** How many seeds to try from the one that is known to reveal the bug; a change of code moves it. */
const SEARCH = 120;

describe('the simulator finds what is planted', () => {
  test.each(SEEDED_BUGS.map((bug) => [bug.name, bug] as const))(
    '%s',
    { timeout: 120_000 },
    async (_name, bug) => {
      expect(await find(bug, bug.revealedBy ?? 1, SEARCH)).toBeDefined();
    },
  );

  test('writes that are not synced', async () => {
    expect((await runSeed({ seed: 1, sync: false })).violation).toBeDefined();
  });
});
