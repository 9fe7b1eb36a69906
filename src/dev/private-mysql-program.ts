/** Finds the server program that a private server runs. */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { TidemarkError } from '../base/index.ts';

export interface ServerProgram {
  readonly path: string;
  readonly flavour: 'mariadb' | 'mysql';
}

/** Servers are often installed outside of a plain user's PATH. */
const MORE_FOLDERS = [
  '/usr/sbin',
  '/usr/local/sbin',
  '/usr/local/mysql/bin',
  '/opt/homebrew/bin',
  '/usr/local/bin',
];

/**
 * Looks for `mariadbd`, then `mysqld`, on the PATH and in the usual folders.
 * @throws TidemarkError `ENGINE_MISSING`.
 */
export async function findServerProgram(): Promise<ServerProgram> {
  for (const name of ['mariadbd', 'mysqld']) {
    const path = await findProgram(name);
    if (path === undefined) continue;
    const { stdout } = await promisify(execFile)(path, ['--no-defaults', '--version']);
    return { path, flavour: stdout.includes('MariaDB') ? 'mariadb' : 'mysql' };
  }
  throw new TidemarkError('ENGINE_MISSING', 'neither mariadbd nor mysqld is on the PATH', {
    next: 'Install one (Debian, Ubuntu: apt-get install mariadb-server), or name a server with --mysql-url.',
  });
}

/** Returns the full path of a program, or undefined. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...MORE_FOLDERS];
  for (const folder of folders) {
    if (folder !== '' && (await isExecutable(join(folder, name)))) return join(folder, name);
  }
  return undefined;
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
