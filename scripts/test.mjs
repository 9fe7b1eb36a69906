// Runs the tests: sets up what is missing, runs vitest with the arguments given, ends with one plain line.
//   npm test                        everything
//   npm test -- test/raft           one folder
//   npm test -- --without-mysql     all that needs no MariaDB, by choice
// Exit code 0: all passed. 1: something failed, or could not run because MariaDB is missing.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COMPILER_COMMAND, MARIADB_COMMAND, ensureCompiler, ensureMariadb, setup } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const given = process.argv.slice(2);
const withoutMysql = given.includes('--without-mysql') || process.env.TIDEMARK_WITHOUT_MYSQL === '1';
const vitestArguments = given.filter((argument) => argument !== '--without-mysql');

function runVitest(reportFile) {
  const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  const child = spawn(process.execPath, [vitest, 'run', ...reporters, ...vitestArguments], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...(withoutMysql ? { TIDEMARK_WITHOUT_MYSQL: '1' } : {}) },
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

/** Counts test cases; a file that could not be loaded counts as one that failed. */
function readReport(reportFile) {
  const report = JSON.parse(readFileSync(reportFile, 'utf8'));
  const broken = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  );
  const skippedIn = report.testResults
    .filter((file) =>
      file.assertionResults.some((test) => test.status === 'skipped' || test.status === 'pending'),
    )
    .map((file) => file.name.slice(root.length));
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests,
    skippedIn,
  };
}

async function main() {
  await setup();
  const mariadb = withoutMysql ? 'declined' : ensureMariadb() ? 'present' : 'missing';
  const compiler = ensureCompiler();
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-report-'));
  try {
    const reportFile = join(folder, 'report.json');
    const code = await runVitest(reportFile);
    const { passed, failed, skipped, skippedIn } = readReport(reportFile);
    const ok = code === 0 && failed === 0;
    const left = skipped > 0 ? `, ${skipped} not run` : '';
    if (skipped > 0) process.stdout.write(`not run:\n${skippedIn.map((name) => `  ${name}\n`).join('')}`);
    if (mariadb === 'missing') {
      process.stdout.write(
        `MariaDB is missing; type: ${MARIADB_COMMAND}\n(or choose: npm test -- --without-mysql)\n`,
      );
    }
    if (!compiler) process.stdout.write(`a C compiler is missing; type: ${COMPILER_COMMAND}\n`);
    process.stdout.write(`${passed} passed, ${failed} failed${left}\n`);
    return ok && mariadb !== 'missing' ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`test: ${error.message}\n`);
  process.exitCode = 1;
}
