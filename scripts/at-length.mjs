// Runs a test of random cases for as many of them as are asked for; `npm test` runs the first few. A failing
// case prints its seed.
//   npm run test:joins -- --cases 2000 --seed 1    random reports over several changing inputs, on MariaDB
//   npm run test:merge -- --cases 10000            the merge against its naive model
//   npm run model -- --cases 10000000              steps of the protocol between cluster and report database
//   npm run test:alters                            tables altered, replaced and dropped under running reports
//   npm run test:restores -- --cases 3             databases, stores and clusters restored under load
//   npm run test:changes                           docs/how-to/change-reports.md, a leader killed in between
//   npm run test:large -- --cases 3000000          a contribution of so many rows, with what it costs
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setup } from './setup.mjs';

const TESTS = {
  joins: { words: ['test/executor/joins', '-t', 'on MariaDB'], cases: '2000', variable: 'TIDEMARK_JOIN' },
  merge: {
    words: ['test/executor/merge-property', '-t', 'equals'],
    cases: '10000',
    variable: 'TIDEMARK_MERGE',
  },
  model: {
    words: ['test/executor/protocol', '-t', 'keeps every cell'],
    cases: '10000000',
    variable: 'TIDEMARK_MODEL',
  },
  alters: { words: ['test/cli/altered-tables'], cases: '1', variable: 'TIDEMARK_ALTERS' },
  changes: { words: ['test/docs/change-reports'], cases: '1', variable: 'TIDEMARK_CHANGES' },
  large: {
    words: ['test/executor/large', '--disable-console-intercept'],
    cases: '1000000',
    variable: 'TIDEMARK_LARGE',
  },
  restores: {
    words: [
      'test/coordinator/report-restore',
      'test/coordinator/report-failover',
      'test/coordinator/store-restore',
    ],
    cases: '3',
    variable: 'TIDEMARK_RESTORE',
  },
};

const { values, positionals } = parseArgs({
  options: { cases: { type: 'string' }, seed: { type: 'string', default: '1' } },
  allowPositionals: true,
});
const test = TESTS[positionals[0]];
if (test === undefined) throw new Error(`name one of ${Object.keys(TESTS).join(', ')}`);
await setup();
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
const child = spawn(process.execPath, [vitest, 'run', ...test.words], {
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  stdio: 'inherit',
  env: {
    ...process.env,
    [`${test.variable}_CASES`]: values.cases ?? test.cases,
    [`${test.variable}_SEED`]: values.seed,
  },
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
