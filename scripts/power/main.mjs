// npm run test:power [-- --trials N --seed N SCENARIO...]
// Power cuts, full, failing and hanging disks under real coordinators, on loop-mounted images. Needs Linux
// and root. Exit codes: 0 all held, 1 something is wrong, 2 unknown (a control found nothing), 3 cannot run.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { whatIsMissing } from './disks.mjs';
import { SCENARIOS } from './scenarios.mjs';

const EXIT = { held: 0, wrong: 1, unknown: 2, cannot: 3 };
const INSIDE = 'TIDEMARK_POWER_INSIDE';
const say = (line) => process.stdout.write(`${line}\n`);

const { values: options, positionals } = parseArgs({
  options: {
    trials: { type: 'string', default: '15' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
  allowPositionals: true,
});

/** The disks live in a mount namespace: whatever happens, they go with its last process. */
function enterNamespace() {
  const words = ['-m', '--propagation', 'private', process.execPath, fileURLToPath(import.meta.url)];
  const child = spawnSync('unshare', [...words, ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  });
  if (child.error === undefined) return child.status ?? EXIT.wrong;
  say(`cannot run here: unshare is missing (${child.error.message})`);
  return EXIT.cannot;
}

function randomOf(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

async function runAll(folder) {
  const missing = await whatIsMissing(folder);
  if (missing !== undefined) {
    say(`cannot run here: ${missing} is missing`);
    return EXIT.cannot;
  }
  const names = positionals.length === 0 ? Object.keys(SCENARIOS) : positionals;
  let exit = EXIT.held;
  for (const [at, name] of names.entries()) {
    const seed = Number(options.seed) + at;
    const scenario = SCENARIOS[name];
    if (scenario === undefined) throw new Error(`no scenario ${name}: ${Object.keys(SCENARIOS).join(' ')}`);
    say(`${name} (seed ${seed})`);
    const own = join(folder, name);
    mkdirSync(own);
    try {
      await scenario({
        folder: own,
        random: randomOf(seed),
        trials: Number(options.trials),
        say: (line) => say(`  ${line}`),
      });
    } catch (error) {
      const unknown = error.message.startsWith('UNKNOWN');
      say(`  ${unknown ? '' : 'WRONG: '}${error.message}`);
      if (exit !== EXIT.wrong) exit = unknown ? EXIT.unknown : EXIT.wrong;
    }
  }
  return exit;
}

if (process.env[INSIDE] === undefined) {
  process.exitCode = enterNamespace();
} else {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-power-'));
  try {
    process.exitCode = await runAll(folder);
  } finally {
    if (process.exitCode === EXIT.wrong) say(`logs are kept in ${folder}`);
    else rmSync(folder, { recursive: true, force: true });
  }
  // A cluster that did not begin may be left over: its members end with this process.
  process.exit();
}
