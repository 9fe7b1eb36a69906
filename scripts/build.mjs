// Builds dist, if it is older than the sources. One build at a time: others wait for it and then find it
// done.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const UNOWNED_LOCK_MS = 10_000;

/** Hashes names and contents of what the build reads. */
function sourceHash() {
  const hash = createHash('sha256');
  const files = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json'];
  for (const entry of readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) files.push(join(entry.parentPath, entry.name).slice(root.length));
  }
  for (const file of files.sort())
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(root, file)))
      .update('\0');
  return hash.digest('hex');
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs `work` while no other process does; a lock whose owner died is taken over. */
export async function exclusively(name, work) {
  const lock = join(root, name);
  for (;;) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (ownerIsGone(lock)) rmSync(lock, { recursive: true, force: true });
    else await sleep(100);
  }
  writeFileSync(join(lock, 'pid'), String(process.pid));
  try {
    return await work();
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

/** The owner writes its pid right after it took the lock; without one for long, it died in between. */
function ownerIsGone(lock) {
  const file = join(lock, 'pid');
  if (!existsSync(file)) {
    const { mtimeMs = Date.now() } = statSync(lock, { throwIfNoEntry: false }) ?? {};
    return Date.now() - mtimeMs > UNOWNED_LOCK_MS;
  }
  try {
    process.kill(Number(readFileSync(file, 'utf8')), 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

/** Resolves with `{ built }`; throws when the compiler reports errors. */
export async function build() {
  return exclusively('.tidemark-build-lock', async () => {
    const stampFile = join(root, 'dist', '.stamp');
    const stamp = sourceHash();
    if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return { built: false };
    const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
    const run = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--pretty', 'false'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      encoding: 'utf8',
    });
    if (run.status !== 0) throw new Error(`the build failed\n${run.stdout}`);
    // What npm does when it installs the package: `npx tidemark` works in a clone too.
    const entry = join(root, 'dist', 'cli', 'main.js');
    if (existsSync(entry)) chmodSync(entry, 0o755);
    writeFileSync(stampFile, stamp);
    return { built: true };
  });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    await build();
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
