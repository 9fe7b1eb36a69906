// Runs the simulator from the sources: compiles what it needs into .tidemark-sim, then starts it.
//   npm run sim -- --seed 7            one seed (a failing one is replayed so)
//   npm run sim -- --minutes 5         as many seeds as fit
//   npm run sim:bugs                   every planted bug, and the seeds that it takes to find it
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exclusively } from './build.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, '.tidemark-sim');

function compile() {
  mkdirSync(folder, { recursive: true });
  // Failpoints and mutations are live, and are the compiled ones.
  const imports = { '#test-build': './src/base/test-build-active.js' };
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module', imports }));
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const options = ['-p', 'tsconfig.sim.json', '--pretty', 'false'];
  const run = spawnSync(process.execPath, [tsc, ...options], { cwd: root, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`the simulator does not compile\n${run.stdout}`);
}

await exclusively('.tidemark-sim-lock', async () => compile());
const main = join(folder, 'test', 'raft', 'simulation', 'main.js');
const child = spawn(process.execPath, ['--enable-source-maps', main, ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
