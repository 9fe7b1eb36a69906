// Measures what a stranger waits for: from `git clone`, with an empty package cache, to the first merged
// window of `npm start`. Prints seconds by step. Needs a package registry; leaves nothing behind.
//   npm run measure:fresh-clone
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const WITHIN_MS = 180_000;
/** Lines that end a step, in order. */
const STEPS = [
  ['dependencies and build', /setup: built/],
  ['cluster up', /^\s*coordinator +c1/],
  ['first window merged', /^window \d+ .* merged/],
];

const folder = mkdtempSync(join(tmpdir(), 'tidemark-fresh-'));
const started = performance.now();
const seconds = () => ((performance.now() - started) / 1000).toFixed(1);
try {
  const clone = spawnSync('git', ['clone', '--quiet', root, join(folder, 'clone')], { stdio: 'inherit' });
  if (clone.status !== 0) throw new Error('git clone failed');
  process.stdout.write(`${seconds()} s  cloned (${cpus().length} cores)\n`);
  const npm = spawn('npm', ['start', '--', '--ephemeral'], {
    cwd: join(folder, 'clone'),
    env: { ...process.env, npm_config_cache: join(folder, 'cache') },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const exited = once(npm, 'exit');
  const deadline = setTimeout(() => process.kill(-npm.pid, 'SIGINT'), WITHIN_MS);
  const steps = [...STEPS];
  const look = (line) => {
    if (steps.length === 0 || !steps[0][1].test(line)) return;
    process.stdout.write(`${seconds()} s  ${steps.shift()[0]}\n`);
    if (steps.length === 0) process.kill(-npm.pid, 'SIGINT');
  };
  for (const stream of [npm.stdout, npm.stderr]) createInterface({ input: stream }).on('line', look);
  await exited;
  clearTimeout(deadline);
  if (steps.length > 0) throw new Error(`not seen within ${WITHIN_MS / 1000} s: ${steps[0][0]}`);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
