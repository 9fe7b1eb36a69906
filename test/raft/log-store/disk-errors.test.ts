/** One write or sync of a real process fails: `scripts/power/disk-errors.mjs`, the short part of it. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { builtCli } from '../../support/dist.ts';

const SCRIPT = fileURLToPath(new URL('../../../scripts/power/disk-errors.mjs', import.meta.url));

beforeAll(async () => {
  await builtCli();
}, 120_000);

// The library that makes a disk fail is of Linux. Its compiler is installed by `scripts/setup.mjs`.
it.skipIf(process.platform !== 'linux')(
  'a member whose sync fails, or whose disk is full, ends and starts again; the others go on [R28]',
  { timeout: 120_000 },
  async () => {
    const child = spawn(process.execPath, [SCRIPT, '--short'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const said = await text(child.stdout);
    expect(await ended, said).toBe(0);
  },
);
