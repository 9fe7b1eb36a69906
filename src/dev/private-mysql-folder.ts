/** Makes the folder of a private server: empty data, one account with a random password, a log file. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { TidemarkError } from '../base/index.ts';
import { findProgram, type ServerProgram } from './private-mysql-program.ts';

export interface ServerFolder {
  readonly dataFolder: string;
  readonly logFile: string;
  readonly initFile: string;
  readonly user: string;
  readonly password: string;
}

const USER = 'tidemark';

/**
 * Prepares `folder`, or finds it prepared. The data is made beside its place and renamed, so that a process
 * killed in between leaves nothing that looks finished.
 * @throws TidemarkError `DB_NOT_STARTED` when the data cannot be made.
 */
export async function prepareServerFolder(folder: string, program: ServerProgram): Promise<ServerFolder> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const dataFolder = join(folder, 'data');
  if (!(await exists(dataFolder))) {
    const unfinished = join(folder, `data.unfinished-${process.pid}`);
    await rm(unfinished, { recursive: true, force: true });
    await makeData(unfinished, program);
    await rename(unfinished, dataFolder);
  }
  const password = await keptPassword(join(folder, 'password'));
  const initFile = join(folder, 'init.sql');
  await writeFile(initFile, initStatements(password), { mode: 0o600 });
  return { dataFolder, logFile: join(folder, 'server.log'), initFile, user: USER, password };
}

/**
 * The server runs these at each start, before it answers anyone. The password needs no escapes: it is hex.
 * They stay out of the binlog: a replica that writes transactions of its own could not follow its primary.
 */
function initStatements(password: string): string {
  return [
    'SET SESSION sql_log_bin = 0;',
    `CREATE USER IF NOT EXISTS '${USER}'@'127.0.0.1' IDENTIFIED BY '${password}';`,
    `GRANT ALL PRIVILEGES ON *.* TO '${USER}'@'127.0.0.1' WITH GRANT OPTION;`,
    '',
  ].join('\n');
}

async function makeData(dataFolder: string, program: ServerProgram): Promise<void> {
  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : [];
  try {
    if (program.flavour === 'mysql') {
      await promisify(execFile)(program.path, [
        '--no-defaults',
        '--initialize-insecure',
        `--datadir=${dataFolder}`,
        ...asRoot,
      ]);
      return;
    }
    const installer = (await findProgram('mariadb-install-db')) ?? (await findProgram('mysql_install_db'));
    if (installer === undefined) throw new Error('mariadb-install-db is not on the PATH');
    await promisify(execFile)(installer, [
      '--no-defaults',
      `--datadir=${dataFolder}`,
      // The system's own account may come in by the socket only; ours is made by the init file.
      '--auth-root-authentication-method=socket',
      `--auth-root-socket-user=${userInfo().username}`,
      '--skip-test-db',
      '--skip-name-resolve',
      // A server that starts removes what it takes for temporary tables left over, other servers' too.
      `--tmpdir=${resolve(dataFolder, '..')}`,
      ...asRoot,
    ]);
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr ?? '';
    throw new TidemarkError('DB_NOT_STARTED', `the data folder of a private server cannot be made: ${said}`, {
      cause,
      next: 'See that the folder can be written and the server program is complete.',
    });
  }
}

async function keptPassword(file: string): Promise<string> {
  if (!(await exists(file))) await writeFile(file, randomBytes(16).toString('hex'), { mode: 0o600 });
  return (await readFile(file, 'utf8')).trim();
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
