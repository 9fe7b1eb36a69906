// Switches off one rule after the other and runs the tests that name it: a rule whose tests still pass is not
// tested. Some tests switch the rule off themselves and expect the damage; those count when they pass.
//   npm run mutations               all
//   npm run mutations -- merge.     those whose name begins so
//   npm run mutations -- R          those of the requirements of consensus (test/raft/breaks.ts); R22: of one
// Prints one line per mutation and `detected / total`. Exit code 0 only if all are detected.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requirementBreaks } from './requirement-breaks.mjs';
import { ruleMap } from './rule-map.mjs';
import { setup } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');

function testsPass(files, environment = {}, named = []) {
  const child = spawn(process.execPath, [vitest, 'run', '--reporter=dot', '--bail=1', ...named, ...files], {
    cwd: root,
    stdio: 'ignore',
    env: { ...process.env, ...environment },
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code === 0));
  });
}

/** Whether tests pass with every rule in force; asked once for each set. */
const sound = new Map();

function soundTests(files, named = []) {
  const key = [...named, ...files].join('\n');
  if (!sound.has(key)) sound.set(key, testsPass(files, {}, named));
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
  if (!(await testsPass(tests, { TIDEMARK_MUTATIONS: name }))) return [true, 'its tests fail'];
  // A list of cases that tests share may do the switching for them.
  if ([...tests, ...named].some((file) => switchesItself(file, name)))
    return [true, 'its test expects the damage and sees it'];
  return [false, 'its tests pass without the rule'];
}

async function judgeBreak({ requirement, environment, files, stale }) {
  if (stale) return [false, 'the passage does not stand there once: test/raft/breaks.ts is out of date'];
  if (files.length === 0) return [false, 'no test carries the requirement'];
  const named = ['-t', `${requirement}\\b`];
  if (!(await soundTests(files, named))) return [false, 'its tests fail as they are'];
  const passed = await testsPass(files, environment, named);
  return passed ? [false, 'its tests pass all the same'] : [true, 'its tests fail'];
}

await setup();
const wanted = process.argv[2] ?? '';
const rules = (await ruleMap()).filter(({ name }) => name.startsWith(wanted));
const breaks = (await requirementBreaks()).filter(({ requirement }) =>
  /^R\d/.test(wanted) ? requirement === wanted : requirement.startsWith(wanted),
);
let detected = 0;
function tell([seen, why], what) {
  if (seen) detected += 1;
  process.stdout.write(`${seen ? 'detected' : 'MISSED  '}  ${what}: ${why}\n`);
}
for (const rule of rules) tell(await judge(rule), rule.name);
for (const one of breaks) tell(await judgeBreak(one), `${one.requirement} ${one.name}`);
const total = rules.length + breaks.length;
process.stdout.write(`${detected} / ${total} detected\n`);
process.exitCode = detected === total && total > 0 ? 0 : 1;
