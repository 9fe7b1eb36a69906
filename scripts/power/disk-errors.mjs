// npm run test:disk-errors [-- --short] [-- /data/state/]
// One write or one sync of one of three real coordinators fails, under load: the n-th of each of its
// databases, with EIO or ENOSPC. The member must end with STORAGE_FAILED without trying that file again, the
// others go on, and it must start again afterwards; at the end everything acknowledged is there.
// Needs Linux and a C compiler. Exit codes: 0 all held, 1 something is wrong, 2 unknown, 3 cannot run.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pause, until } from '../../bench/cluster.mjs';
import { Load, Members, plainFolder } from './members.mjs';

const SOURCE = fileURLToPath(new URL('../../test/support/failing-disk.c', import.meta.url));
const ERRNO = { EIO: 5, ENOSPC: 28 };
/** A call that has not come after this long under load, once the member is level, is not waited for. */
const REACHED_MS = 1_000;
const ENDS_MS = 10_000;
const BACK_MS = 60_000;
/** The others must go on; how fast is measured elsewhere, on a machine that does nothing else. */
const GAP_MS = 30_000;
/** The calls from 1 on are those of the start; then each write of the load is one of the log. */
const NUMBERS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100, 200];
const SWEEP = ['/data/log/', '/data/state/', '/data/lock/'].flatMap((files) => [
  { files, call: 'sync', error: 'EIO', numbers: NUMBERS },
  { files, call: 'write', error: 'EIO', numbers: NUMBERS },
  { files, call: 'write', error: 'ENOSPC', numbers: NUMBERS.filter((_, at) => at % 3 === 2) },
]);
SWEEP.push({ files: '/data/log/tidemark-writes', call: 'write', error: 'EIO', numbers: [1, 2, 5, 50] });
const SHORT = [
  { files: '/data/log/', call: 'sync', error: 'EIO', numbers: [12] },
  { files: '/data/state/', call: 'write', error: 'ENOSPC', numbers: [15] },
];
const CONTROL = [{ files: '/data/log/', call: 'sync', error: 'EIO', numbers: [12] }];
const say = (line) => process.stdout.write(`${line}\n`);

const { values: options, positionals } = parseArgs({
  options: { short: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const asked = ({ files }) => positionals.length === 0 || positionals.includes(files);

/** The library, or undefined where it cannot be made. */
function compiled(folder) {
  const library = join(folder, 'failing-disk.so');
  if (process.platform !== 'linux') return undefined;
  const words = ['-shared', '-fPIC', '-O1', '-o', library, SOURCE, '-ldl'];
  return spawnSync('cc', words, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0
    ? library
    : undefined;
}

class Faults {
  failed = 0;
  #wrong;
  #members;
  #library;
  #folder;

  constructor(members, library, folder, wrong) {
    this.#wrong = wrong;
    this.#members = members;
    this.#library = library;
    this.#folder = folder;
  }

  /** Returns false if the member never came to that call. */
  async once(at, { files, call, error, number }) {
    const members = this.#members;
    const before = members.logOf(at).length;
    const told = join(this.#folder, `told-${this.failed}`);
    await members.kill([at]);
    members.run(at, {
      LD_PRELOAD: this.#library,
      FAIL_IN: join(members.disks[at].path, files),
      FAIL_CALL: call,
      FAIL_AT: String(number),
      FAIL_WITH: String(ERRNO[error]),
      FAIL_TOLD: told,
    });
    const node = members.nodes[at];
    await this.#reached(node, told);
    if (existsSync(told)) {
      this.failed += 1;
      const code = await Promise.race([node.gone, pause(ENDS_MS).then(() => 'not at all')]);
      const lines = readFileSync(told, 'utf8').trim().split('\n');
      const where = `${error} at ${call} ${number} (${basename(lines[0])})`;
      say(`  ${files} ${where}: ended ${code}`);
      if (code !== 1) this.#wrong.push(`${files} ${where}: the member ended ${code}`);
      if (lines.length > 1) this.#wrong.push(`${files} ${where}: then ${lines[1]}`);
      const said = members.logOf(at).slice(before);
      if (!said.includes('STORAGE_FAILED'))
        this.#wrong.push(`${files} ${where}: it said ${said.slice(-300)}`);
    }
    const reached = existsSync(told);
    if (!reached && node.ended !== undefined) this.#wrong.push(`${files}: it ended ${node.ended} by itself`);
    if (node.ended === undefined) await members.kill([at]);
    members.run(at);
    // The next one ends only when this one is back: two at once would take the majority.
    await members.level(BACK_MS);
    return reached;
  }

  /** Waits for the call that fails, or until the member has had its time to come to it. */
  async #reached(node, told) {
    const level = this.#members.level(BACK_MS).then(() => pause(REACHED_MS));
    let waiting = true;
    const end = () => (waiting = false);
    level.then(end, end);
    while (waiting && !existsSync(told) && node.ended === undefined) await pause(20);
  }
}

/** Adds to `wrong` what is found, also if it does not come to its end; returns how many calls failed. */
async function run({ folder, library, sweep, wrong, mutations = [] }) {
  mkdirSync(folder);
  const members = await Members.start(folder, 3, { disk: plainFolder, mutations });
  const load = new Load(members.client, options.short ? 2 : undefined);
  const faults = new Faults(members, library, folder, wrong);
  try {
    load.begin();
    let at = 0;
    for (const { numbers, ...place } of sweep) {
      let last = 0;
      for (const number of numbers) {
        if (!(await faults.once(at, { ...place, number }))) break;
        last = number;
        at = (at + 1) % 3;
      }
      say(`${place.files} ${place.error} ${place.call}: up to number ${last}`);
    }
    await load.end();
    await members.serving();
    const { wrong: lost, present } = await load.judge();
    wrong.push(...lost);
    await until('members that are level', () => members.level());
    const { acknowledged, inDoubt, gapMs } = load;
    say(`${acknowledged.size} acknowledged; ${present} of ${inDoubt.size} in doubt there`);
    say(`longest time without an acknowledgement: ${Math.round(gapMs)} ms`);
    if (gapMs > GAP_MS) wrong.push(`no write was acknowledged for ${Math.round(gapMs)} ms`);
    if (acknowledged.size < 100) wrong.push('hardly anything was acknowledged');
    return faults.failed;
  } finally {
    await members.stop();
  }
}

/** A member that goes on after a failed write must be found out; that the run breaks off is no proof. */
async function control(folder, library) {
  say('control: raft.goesOnAfterFailedWrite');
  const goesOn = ['raft.goesOnAfterFailedWrite'];
  const wrong = [];
  try {
    await run({ folder, library, sweep: CONTROL, wrong, mutations: goesOn });
  } catch (error) {
    say(`it did not come to its end: ${error.message}`);
  }
  say(wrong.length > 0 ? `as it must, this was found out: ${wrong[0]}` : 'UNKNOWN: it was not found out');
  return wrong.length > 0;
}

const folder = mkdtempSync(join(tmpdir(), 'tidemark-disk-errors-'));
const library = compiled(folder);
let exit = 0;
if (library === undefined) {
  say('cannot run here: Linux and a C compiler (cc) are needed');
  exit = 3;
} else {
  const wrong = [];
  const sweep = (options.short ? SHORT : SWEEP).filter(asked);
  const failed = await run({ folder: join(folder, 'run'), library, sweep, wrong });
  for (const line of wrong) say(`WRONG: ${line}`);
  const shown =
    failed >= SHORT.length && (options.short || (await control(join(folder, 'control'), library)));
  if (wrong.length > 0) exit = 1;
  else if (!shown) exit = 2;
}
if (exit === 1) say(`logs are kept in ${folder}`);
else rmSync(folder, { recursive: true, force: true });
process.exit(exit);
