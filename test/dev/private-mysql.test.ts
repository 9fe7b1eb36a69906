import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql, { type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPrivateServer, type PrivateServer } from '../../src/dev/private-mysql.ts';
import { mariadbMissing } from '../support/mariadb.ts';

describe.skipIf(mariadbMissing())('a private server', () => {
  let folder: string;
  let server: PrivateServer;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-private-'));
    server = await startPrivateServer({ folder, name: 'test', durable: false });
  });

  afterAll(async () => {
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
    await rm(folder, { recursive: true });
  });

  it('writes a binlog that the collector can read', async () => {
    const connection = await mysql.createConnection(server.url);
    const [rows] = await connection.query<RowDataPacket[]>(
      'SELECT @@log_bin l, @@binlog_format f, @@binlog_row_image i, @@binlog_row_metadata m, @@server_id s',
    );
    await connection.end();
    expect(rows[0]).toMatchObject({ l: 1, f: 'ROW', i: 'FULL', m: 'FULL', s: server.port });
  });

  it('lets nobody in without the password', async () => {
    const url = `mysql://tidemark:wrong@127.0.0.1:${server.port}`;
    await expect(mysql.createConnection(url)).rejects.toMatchObject({ code: 'ER_ACCESS_DENIED_ERROR' });
    const root = `mysql://root@127.0.0.1:${server.port}`;
    await expect(mysql.createConnection(root)).rejects.toMatchObject({ code: 'ER_ACCESS_DENIED_ERROR' });
  });

  it('tells a folder that is in use and a port that is taken apart', async () => {
    await expect(startPrivateServer({ folder, name: 'second' })).rejects.toMatchObject({
      code: 'DATA_IN_USE',
    });
    const other = await mkdtemp(join(tmpdir(), 'tidemark-private-'));
    const taken = startPrivateServer({ folder: other, name: 'third', port: server.port });
    await expect(taken).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    await rm(other, { recursive: true });
  });
});

describe.skipIf(mariadbMissing())('the guard of a private server', () => {
  it('ends the server when the process that started it is killed', async () => {
    // The same pipe, held by a process that dies by SIGKILL: what the kernel closes ends the server.
    const script = `
      const { spawn } = require('node:child_process');
      const stdio = ['pipe', 'inherit', 'inherit'];
      const words = ['-c', process.argv[1], 'guard', 'sleep', '600'];
      const guard = spawn('/bin/sh', words, { stdio, detached: true });
      guard.on('exit', () => process.exit(1));
    `;
    const { GUARD_SCRIPT } = await import('../../src/dev/private-mysql.ts');
    const parent = spawn(process.execPath, ['-e', script, GUARD_SCRIPT], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [chunk] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(chunk.toString().trim());
    expect(isAlive(pid)).toBe(true);
    parent.kill('SIGKILL');
    const { eventually } = await import('../support/eventually.ts');
    await eventually(() => !isAlive(pid), { withinMs: 5_000, what: 'the guarded process is gone' });
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
