/** Half-cut links between real processes: `scripts/power/half-cuts.mjs`, the short part of it. */
import { beforeAll, it } from 'vitest';
import { builtCli } from '../support/dist.ts';
import { shortPartPasses } from '../support/power-script.ts';

beforeAll(async () => {
  await builtCli();
}, 120_000);

it(
  'a half-cut follower unseats nobody, a leader that hears nobody gives way',
  { timeout: 120_000 },
  async () => {
    await shortPartPasses('half-cuts.mjs');
  },
);
