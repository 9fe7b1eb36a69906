// Compares random reports over several changing inputs with recomputation from scratch, on MariaDB.
//   npm run test:joins -- --cases 2000 --seed 1
// A failing case prints its seed, its SQL and its operations, made as small as it would go.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { cases: { type: 'string', default: '2000' }, seed: { type: 'string', default: '1' } },
});
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
const child = spawn(process.execPath, [vitest, 'run', 'test/executor/joins', '-t', 'on MariaDB'], {
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  stdio: 'inherit',
  env: { ...process.env, TIDEMARK_JOIN_CASES: values.cases, TIDEMARK_JOIN_SEED: values.seed },
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
