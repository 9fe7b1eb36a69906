// Everything of a run on one machine: a MariaDB each for source, store and reports, three coordinators, two
// executors.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import mysql from 'mysql2/promise';
import { stringify } from 'yaml';
import { connect } from '../../dist/client/index.js';
import { startPrivateServer } from '../../dist/dev/private-mysql.js';
import { freePorts, until } from '../cluster.mjs';

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const ROLES = ['source', 'store', 'reports'];

/** What a server of this load has: with 128 MiB, reports of ten minutes are read from files again. */
const MEMORY = ['--innodb-buffer-pool-size=1G', '--innodb-log-file-size=512M'];

/** `binlog`: whether store and report databases write one as well as the source. */
export async function startMachine({ binlog }) {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-'));
  const children = [];
  process.once('exit', () => {
    for (const { child } of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  const servers = {};
  for (const role of ROLES) {
    const options = [...MEMORY, ...(binlog || role === 'source' ? [] : ['--skip-log-bin'])];
    servers[role] = await startPrivateServer({ folder: join(folder, `server-${role}`), name: role, options });
  }
  const urls = {};
  for (const role of ROLES) {
    const connection = await mysql.createConnection({ uri: servers[role].url });
    await connection.query('CREATE DATABASE bench CHARACTER SET utf8mb4');
    await connection.end();
    urls[role] = `${servers[role].url}/bench`;
  }
  const environment = { BENCH_SOURCE: urls.source, BENCH_STORE: urls.store, BENCH_REPORTS: urls.reports };
  const ports = await freePorts(6);
  const endpoints = ports.slice(0, 3).map((port) => `127.0.0.1:${port}`);
  const start = (name, words) => {
    mkdirSync(join(folder, name), { recursive: true });
    const log = openSync(join(folder, `${name}.log`), 'a');
    const env = { ...process.env, ...environment };
    const child = spawn(process.execPath, [CLI, ...words], { stdio: ['ignore', log, log], env });
    children.push({ name, child });
    child.gone = new Promise((resolve) => child.once('exit', resolve));
  };
  for (const [n, endpoint] of endpoints.entries()) {
    const addresses = [`--peer-listen=127.0.0.1:${ports[3 + n]}`, `--client-listen=${endpoint}`];
    start(`c${n + 1}`, ['coordinator', 'start', `--data=${join(folder, `c${n + 1}`)}`, ...addresses]);
  }
  const client = connect({ endpoints, name: 'bench', deadlineMs: 60_000 });
  await until('init', () => client.init(endpoints), 60_000);
  for (const name of ['e1', 'e2']) {
    const words = [`--name=${name}`, `--endpoints=${endpoints.join(',')}`, `--folder=${join(folder, name)}`];
    start(name, ['executor', 'start', ...words]);
  }
  return {
    folder,
    servers,
    urls,
    client,
    /** Pids by part. */
    parts: () => ({
      ...Object.fromEntries(ROLES.map((role) => [role, [servers[role].pid]])),
      coordinators: children.filter(({ name }) => name.startsWith('c')).map(({ child }) => child.pid),
      executors: children.filter(({ name }) => name.startsWith('e')).map(({ child }) => child.pid),
      load: [process.pid],
    }),
    async apply(job) {
      const file = join(folder, 'job.yaml');
      const text = stringify(job);
      writeFileSync(file, text);
      await until('apply', () => client.apply(text), 120_000);
    },
    async stop() {
      client.close();
      for (const { child } of children) child.kill('SIGTERM');
      await Promise.all(children.map(({ child }) => child.gone));
      for (const role of ROLES) await servers[role].stop();
    },
  };
}
