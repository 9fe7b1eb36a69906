/**
 * A MariaDB or MySQL server of our own, for `dev --mysql` and for tests: own folder, own port, loopback only,
 * a random password, row binlog with full metadata. It listens to nobody else's configuration
 * (`--no-defaults`).
 *
 * The server must not outlive us, even if we are killed with SIGKILL. So a shell starts it and then reads a
 * pipe that only this process holds: when the pipe ends, for whatever reason, the shell ends the server. The
 * shell never reaps the server before that, so the pid that it signals cannot belong to anyone else.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { TidemarkError } from '../base/index.ts';
import { prepareServerFolder, type ServerFolder } from './private-mysql-folder.ts';
import { findServerProgram, type ServerProgram } from './private-mysql-program.ts';

export interface PrivateServerOptions {
  /** Everything of the server lives here; made if missing, kept afterwards. One server at a time. */
  readonly folder: string;
  /** TCP port on 127.0.0.1. @default a free one */
  readonly port?: number;
  /** Shown in errors. */
  readonly name: string;
  /**
   * False gives up durability for speed (tests only): a crash of the machine may lose commits. @default true
   */
  readonly durable?: boolean;
  /** Further options of the server program (tests only). */
  readonly options?: readonly string[];
}

export interface PrivateServer {
  /** `mysql://user:password@127.0.0.1:port`, without a database; the account may do everything. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves when the server has ended, for whatever reason. */
  readonly ended: Promise<void>;
  /** Ends the server in an orderly way, or after 10 s by SIGKILL; resolves when it is gone. */
  readonly stop: () => Promise<void>;
}

const READY_WITHIN_MS = 60_000;
const PORT_TRIES = 3;
/** A server of ours that is still stopping (its parent was killed) frees its folder well within this time. */
const LOCKED_FOR_MS = 3_000;
const LOCKED = /Unable to lock|Another process with pid|Can't lock aria control file/i;

/**
 * Starts a private server and resolves when it answers.
 *
 * @throws TidemarkError `ENGINE_MISSING` without a server program, `DATA_IN_USE` when another server uses the
 * folder, `PORT_IN_USE`, `DB_NOT_STARTED` for anything else, with the last lines of the server's log.
 */
export async function startPrivateServer(options: PrivateServerOptions): Promise<PrivateServer> {
  const program = await findServerProgram();
  const folder = await prepareServerFolder(options.folder, program);
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    try {
      return await startOn(port, { program, folder, options });
    } catch (error) {
      const taken = error instanceof TidemarkError && error.code === 'PORT_IN_USE';
      if (!taken || options.port !== undefined || attempt === PORT_TRIES) throw error;
    }
  }
}

interface StartInput {
  readonly program: ServerProgram;
  readonly folder: ServerFolder;
  readonly options: PrivateServerOptions;
}

async function startOn(port: number, input: StartInput): Promise<PrivateServer> {
  const { folder, options } = input;
  const log = await open(folder.logFile, 'a');
  const logStart = (await log.stat()).size;
  let guard: Guard;
  try {
    guard = await startGuarded([input.program.path, ...serverArguments(port, input)], log.fd);
  } finally {
    await log.close();
  }
  const url = `mysql://${folder.user}:${folder.password}@127.0.0.1:${port}`;
  const state = { ended: false };
  const ended = guard.serverEnded.then(() => {
    state.ended = true;
  });
  const started = performance.now();
  while (!(await answers(url))) {
    const waited = performance.now() - started;
    const said = (await readFile(folder.logFile)).subarray(logStart).toString('utf8');
    const locked = waited > LOCKED_FOR_MS && LOCKED.test(said);
    if (state.ended || locked || waited > READY_WITHIN_MS) {
      // A server that waits for a lock ignores SIGTERM; it has changed nothing yet.
      process.kill(guard.serverPid, 'SIGKILL');
      await guard.stop();
      throw startFailure({ name: options.name, port, folder, said });
    }
    await wait(50);
  }
  return { url, port, pid: guard.serverPid, ended, stop: guard.stop };
}

function serverArguments(port: number, { program, folder, options }: StartInput): string[] {
  const durable = options.durable !== false;
  return [
    '--no-defaults',
    `--datadir=${folder.dataFolder}`,
    // Of its own: a server that starts removes other servers' temporary tables from theirs.
    `--tmpdir=${resolve(options.folder)}`,
    // Relative to the data folder, because the path of a socket may have only 107 bytes.
    '--socket=server.sock',
    '--pid-file=server.pid',
    `--init-file=${folder.initFile}`,
    '--bind-address=127.0.0.1',
    `--port=${port}`,
    '--skip-name-resolve',
    '--max-connections=500',
    '--character-set-server=utf8mb4',
    `--server-id=${port}`,
    '--log-bin=binlog',
    '--binlog-format=ROW',
    '--binlog-row-image=FULL',
    '--binlog-row-metadata=FULL',
    '--binlog-expire-logs-seconds=86400',
    `--sync-binlog=${durable ? 1 : 0}`,
    `--innodb-flush-log-at-trx-commit=${durable ? 1 : 0}`,
    '--innodb-buffer-pool-size=128M',
    '--innodb-log-file-size=96M',
    '--performance-schema=OFF',
    ...(program.flavour === 'mariadb'
      ? ['--gtid-strict-mode=ON']
      : ['--gtid-mode=ON', '--enforce-gtid-consistency=ON', '--mysqlx=OFF', '--log-error-verbosity=2']),
    ...(options.options ?? []),
    // Both server programs refuse to run as root unless told to.
    ...(process.getuid?.() === 0 ? ['--user=root'] : []),
  ];
}

interface Guard {
  readonly serverPid: number;
  readonly serverEnded: Promise<void>;
  readonly stop: () => Promise<void>;
}

/**
 * Starts what its arguments say. After the pipe ends: SIGTERM, and SIGKILL ten seconds later (a stopped
 * process ignores SIGTERM). The shell ends last: whoever waits for it knows that nothing of it is left.
 */
export const GUARD_SCRIPT = `
"$@" </dev/null &
server=$!
echo "$server"
exec >/dev/null 2>&1
while read -r line; do :; done
kill -TERM "$server"
(
  tenths=0
  while kill -0 "$server" && [ "$tenths" -lt 100 ]; do sleep 0.1; tenths=$((tenths + 1)); done
  kill -KILL "$server"
) &
killer=$!
wait "$server"
kill -TERM "$killer"
wait "$killer"
`;

/** The server holds the write end of the shell's stdout, so that its end is the end of that pipe. */
async function startGuarded(command: readonly string[], logFd: number): Promise<Guard> {
  // In a session of its own: Ctrl-C on the terminal goes to us alone, and we end the server in order.
  const shell = spawn('/bin/sh', ['-c', GUARD_SCRIPT, 'guard', ...command], {
    stdio: ['pipe', 'pipe', logFd],
    detached: true,
  }) as ChildProcess & { readonly stdin: Writable; readonly stdout: Readable };
  const exited = new Promise<void>((resolve, reject) => {
    shell.once('exit', () => {
      resolve();
    });
    shell.once('error', (cause) => {
      reject(
        new TidemarkError('DB_NOT_STARTED', 'the shell that guards the server did not start', { cause }),
      );
    });
  });
  // A shell that has gone breaks the pipe; its end is seen by `exited`, so the write's own error tells
  // nothing new.
  shell.stdin.on('error', () => shell.stdin.destroy());
  const lines = createInterface({ input: shell.stdout });
  const serverEnded = once(lines, 'close').then(() => undefined);
  const first = await Promise.race([once(lines, 'line') as Promise<[string]>, exited]);
  if (first === undefined)
    throw new TidemarkError('DB_NOT_STARTED', 'the shell that guards the server ended');
  return {
    serverPid: Number(first[0]),
    serverEnded,
    async stop() {
      shell.stdin.end();
      await exited;
      await serverEnded;
    },
  };
}

/** A refused or broken connection means "not yet"; that the server ended is seen elsewhere. */
async function answers(url: string): Promise<boolean> {
  try {
    const connection = await mysql.createConnection({ uri: url, connectTimeout: 2_000 });
    await connection.query('SELECT 1');
    await connection.end();
    return true;
  } catch (error) {
    return isNotYet(error);
  }
}

function isNotYet(error: unknown): false {
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string') return false;
  throw new TidemarkError('DB_NOT_STARTED', 'the private server answers in an unexpected way', {
    cause: error,
  });
}

interface FailureInput {
  readonly name: string;
  readonly port: number;
  readonly folder: ServerFolder;
  /** What this server wrote to its log. */
  readonly said: string;
}

function startFailure({ name, port, folder, said }: FailureInput): TidemarkError {
  if (LOCKED.test(said)) {
    return new TidemarkError('DATA_IN_USE', `${name}: another server uses ${folder.dataFolder}`, {
      next: 'Stop that server, or choose another data folder.',
    });
  }
  if (/Address already in use/i.test(said)) {
    return new TidemarkError('PORT_IN_USE', `${name}: port ${port} of 127.0.0.1 is taken`, {
      next: 'Choose another port, or stop the process that listens there.',
    });
  }
  const tail = said.trim().split('\n').slice(-8).join('\n');
  return new TidemarkError('DB_NOT_STARTED', `${name}: the server did not start\n${tail}`, {
    next: `Read ${folder.logFile}.`,
  });
}

/** A port that was free a moment ago; who takes it in between is told by `PORT_IN_USE`. */
async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
