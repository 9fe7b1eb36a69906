/** One write or sync of a real process fails: `scripts/power/disk-errors.mjs`, the short part of it. */
import { beforeAll, it } from 'vitest';
import { builtCli } from '../../support/dist.ts';
import { shortPartPasses } from '../../support/power-script.ts';

beforeAll(async () => {
  await builtCli();
}, 120_000);

// The library that makes a disk fail is of Linux. Its compiler is installed by `scripts/setup.mjs`.
it.skipIf(process.platform !== 'linux')(
  'a member whose sync fails, or whose disk is full, ends and starts again; the others go on [R28]',
  { timeout: 120_000 },
  async () => {
    await shortPartPasses('disk-errors.mjs');
  },
);
