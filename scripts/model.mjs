// Plays the model of the protocol between cluster and report database at length, from its test.
//   npm run model                 ten million steps
//   npm run model -- 50000000     so many
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setup } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
const steps = process.argv[2] ?? '10000000';

await setup();
const child = spawn(process.execPath, [vitest, 'run', 'test/executor/protocol'], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, TIDEMARK_MODEL_STEPS: steps },
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
