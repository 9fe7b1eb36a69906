/** One write or sync of a real process fails: `scripts/power/disk-errors.mjs`, the short part of it. */
import { spawn, spawnSync } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { builtCli } from '../../support/dist.ts';

const SCRIPT = fileURLToPath(new URL('../../../scripts/power/disk-errors.mjs', import.meta.url));
const compiler = process.platform === 'linux' && spawnSync('cc', ['--version']).status === 0;
/** Where tests must not be left out, its absence is a failure. */
const mustRun = process.env['CI'] !== undefined && process.platform === 'linux';

beforeAll(async () => {
  await builtCli();
}, 120_000);

it.skipIf(!compiler && !mustRun)(
  'a member whose sync fails, or whose disk is full, ends and starts again; the others go on [R28]',
  { timeout: 120_000 },
  async () => {
    expect(compiler, 'a C compiler is needed: sudo apt-get install gcc libc6-dev').toBe(true);
    const child = spawn(process.execPath, [SCRIPT, '--short'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const said = await text(child.stdout);
    expect(await ended, said).toBe(0);
  },
);
