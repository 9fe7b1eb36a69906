// Plants the bugs of test/planted-bugs.ts one after the other and runs the tests that must catch them.
//   npm run bugs                    all
//   npm run bugs -- token           those whose text holds the words
// Prints one line per bug with the test that caught it, then `caught / planted`. Exit code 0 only if all are.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadSources } from './load-source.mjs';
import { setup } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
const folder = mkdtempSync(join(tmpdir(), 'tidemark-bugs-'));

/** Runs the tests of a file whose titles fit; resolves with the titles of those that passed and failed. */
async function run({ file, named }, environment) {
  const outputFile = join(folder, 'result.json');
  rmSync(outputFile, { force: true });
  const words = ['run', '--reporter=json', `--outputFile=${outputFile}`, '-t', named, file];
  const child = spawn(process.execPath, [vitest, ...words], {
    cwd: root,
    stdio: 'ignore',
    env: { ...process.env, ...environment },
  });
  await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', resolve);
  });
  const { testResults } = JSON.parse(readFileSync(outputFile, 'utf8'));
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
  const titles = (status) => tests.filter((test) => test.status === status).map((test) => test.fullName);
  return { passed: titles('passed'), failed: titles('failed') };
}

/** The tests as they are; asked once for each file and pattern. */
const sound = new Map();

async function isSound(bug) {
  const key = `${bug.file} ${bug.named}`;
  if (!sound.has(key)) {
    const { passed, failed } = await run(bug, {});
    sound.set(key, passed.length > 0 && failed.length === 0);
  }
  return sound.get(key);
}

const isStale = (broken) =>
  typeof broken !== 'string' && readFileSync(join(root, broken.file), 'utf8').split(broken.find).length !== 2;

async function judge(bug) {
  if (isStale(bug.broken)) return [false, 'the passage does not stand there once'];
  if (!(await isSound(bug))) return [false, `the tests of ${bug.file} do not pass as they are`];
  const { broken } = bug;
  const environment =
    typeof broken === 'string' ? { TIDEMARK_MUTATIONS: broken } : { TIDEMARK_BREAK: JSON.stringify(broken) };
  // A bug that keeps the file from loading fails no test, and counts as missed.
  const { failed } = await run(bug, environment);
  if (failed.length === 0) return [false, `the tests of ${bug.file} pass all the same`];
  return [true, `${bug.file}: ${failed[0]}`];
}

await setup();
const wanted = process.argv.slice(2).join(' ');
const [{ PLANTED_BUGS }] = await loadSources(['test/planted-bugs.ts']);
const bugs = PLANTED_BUGS.filter(({ bug }) => bug.includes(wanted));
let caught = 0;
try {
  for (const one of bugs) {
    const [seen, why] = await judge(one);
    if (seen) caught += 1;
    process.stdout.write(`${seen ? 'caught' : 'MISSED'}  ${one.bug}\n        ${why}\n`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.stdout.write(`${caught} / ${bugs.length} caught\n`);
process.exitCode = caught === bugs.length && bugs.length > 0 ? 0 : 1;
