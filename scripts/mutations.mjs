// Switches off one rule after the other and runs the tests that name it: a rule whose tests still pass is not
// tested. Some tests switch the rule off themselves and expect the damage; those count when they pass.
//   npm run mutations               all
//   npm run mutations -- merge.     those whose name begins so
// Prints one line per mutation and `detected / total`. Exit code 0 only if all are detected.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ruleMap } from './rule-map.mjs';
import { setup } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');

function testsPass(files, mutation) {
  const env = { ...process.env, ...(mutation === undefined ? {} : { TIDEMARK_MUTATIONS: mutation }) };
  const child = spawn(process.execPath, [vitest, 'run', '--reporter=dot', '--bail=1', ...files], {
    cwd: root,
    stdio: 'ignore',
    env,
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code === 0));
  });
}

/** Whether tests pass with every rule in force; asked once for each set of files. */
const sound = new Map();

function soundTests(files) {
  const key = files.join('\n');
  if (!sound.has(key)) sound.set(key, testsPass(files, undefined));
  return sound.get(key);
}

const switchesItself = (file, name) => {
  const text = readFileSync(join(root, file), 'utf8');
  return /\bsetMutation\(|\brule\(/.test(text) && text.includes(name);
};

async function judge({ name, switchedIn, named, tests }) {
  if (switchedIn.length === 0) return [false, 'no rule in src asks for it'];
  if (tests.length === 0) return [false, 'no test names it'];
  if (!(await soundTests(tests))) return [false, 'its tests fail as they are'];
  if (!(await testsPass(tests, name))) return [true, 'its tests fail'];
  if (tests.some((file) => switchesItself(file, name)))
    return [true, 'its test expects the damage and sees it'];
  return [false, 'its tests pass without the rule'];
}

await setup();
const prefix = process.argv[2] ?? '';
const rules = (await ruleMap()).filter(({ name }) => name.startsWith(prefix));
let detected = 0;
for (const rule of rules) {
  const [seen, why] = await judge(rule);
  if (seen) detected += 1;
  process.stdout.write(`${seen ? 'detected' : 'MISSED  '}  ${rule.name}: ${why}\n`);
}
process.stdout.write(`${detected} / ${rules.length} detected\n`);
process.exitCode = detected === rules.length && rules.length > 0 ? 0 : 1;
