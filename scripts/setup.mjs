// Makes a fresh clone ready: dependencies, build and, with --tests, MariaDB and a C compiler; with
// --dependencies only the first of these.
// Needs nothing but Node and npm.
// Tells on stderr what it does; what it cannot do ends it with exit code 1 and the command to type.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, exclusively } from './build.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const NODE_MIN = [20, 19];

/** The server and what it needs, without the package that makes it a service of the system. */
const MARIADB_PACKAGES = ['mariadb-server-core', 'mariadb-client-core'];
/** For the library that makes a disk fail (`test/support/failing-disk.c`), on Linux. */
const COMPILER_PACKAGES = ['gcc', 'libc6-dev'];
export const MARIADB_COMMAND = commandFor(MARIADB_PACKAGES);
export const COMPILER_COMMAND = commandFor(COMPILER_PACKAGES);

function commandFor(packages) {
  return `sudo apt-get install ${packages.join(' ')}`;
}

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

/** Installs dependencies and builds, each only if needed. Throws with what to do when it cannot. */
export async function setup() {
  await installDependencies();
  const started = Date.now();
  const { built } = await build();
  if (built) say(`built dist in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

async function installDependencies() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1])) {
    throw new Error(`Node ${NODE_MIN.join('.')} or newer is needed; this is ${process.versions.node}`);
  }
  await exclusively('.tidemark-setup-lock', () => {
    if (dependenciesInstalled()) return;
    say('installing dependencies (npm ci)');
    run('npm', ['ci', '--no-audit', '--no-fund'], 'npm ci failed; see its messages above');
  });
}

/**
 * npm leaves its own record of a finished install; it is compared with the lock file, package by package.
 * Packages for other platforms are in the lock file only.
 */
function dependenciesInstalled() {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true;
    return installed[path] === undefined ? optional === true : installed[path].version === version;
  });
}

/** Whether the tests that need a C compiler can run; where they do not apply, nothing is missing. */
function compilerInstalled() {
  return process.platform !== 'linux' || spawnSync('cc', ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Whether a server program is where `src/dev/private-mysql-program.ts` looks for it. */
export function mariadbInstalled() {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.some(
    (folder) => isExecutable(join(folder, 'mariadbd')) || isExecutable(join(folder, 'mysqld')),
  );
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(error.code)) return false;
    throw error;
  }
}

/** Installs MariaDB if it is missing and this user may. Returns whether it is there. */
export function ensureMariadb() {
  return mariadbInstalled() || (installPackages('MariaDB', MARIADB_PACKAGES) && mariadbInstalled());
}

/** Installs a C compiler where one is needed and missing, if this user may. Returns whether it is there. */
export function ensureCompiler() {
  return compilerInstalled() || (installPackages('a C compiler', COMPILER_PACKAGES) && compilerInstalled());
}

/** Installs packages of the system. Returns whether it could. */
function installPackages(what, packages) {
  const prefix = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  const apt = (args) => {
    const [program, ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
    return spawnSync(program, rest, { stdio: ['ignore', 2, 2] }).status === 0;
  };
  if (spawnSync('apt-get', ['--version'], { stdio: 'ignore' }).status !== 0) return false;
  if (prefix.length > 0 && spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status !== 0) return false;
  say(`installing ${what} for the tests (apt-get install ${packages.join(' ')})`);
  const install = () => apt(['install', '-y', '--no-install-recommends', ...packages]);
  if (install() || (apt(['update']) && install())) return true;
  say(`apt-get could not install ${what}`);
  return false;
}

function run(program, args, failure) {
  const result = spawnSync(program, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.error !== undefined) throw new Error(`${failure} (${result.error.message})`);
  if (result.status !== 0) throw new Error(failure);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    if (process.argv.includes('--dependencies')) await installDependencies();
    else await setup();
    if (process.argv.includes('--tests') && !ensureMariadb()) {
      throw new Error(`MariaDB is missing and cannot be installed from here; type: ${MARIADB_COMMAND}`);
    }
    if (process.argv.includes('--tests') && !ensureCompiler()) {
      throw new Error(`a C compiler is missing and cannot be installed from here; type: ${COMPILER_COMMAND}`);
    }
  } catch (error) {
    say(error.message);
    process.exitCode = 1;
  }
}
