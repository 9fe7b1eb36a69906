/** Half-cut links between real processes: `scripts/power/half-cuts.mjs`, the short part of it. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { builtCli } from '../support/dist.ts';

const SCRIPT = fileURLToPath(new URL('../../scripts/power/half-cuts.mjs', import.meta.url));

beforeAll(async () => {
  await builtCli();
}, 120_000);

it(
  'a half-cut follower unseats nobody, a leader that hears nobody gives way',
  { timeout: 120_000 },
  async () => {
    const child = spawn(process.execPath, [SCRIPT, '--short'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const said = await text(child.stdout);
    expect(await ended, said).toBe(0);
  },
);
