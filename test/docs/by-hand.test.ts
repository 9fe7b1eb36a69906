/** The README's part "By hand", run as it stands: its commands, its job file, its SQL, its result. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtCli } from '../support/dist.ts';
import { eventually } from '../support/eventually.ts';
import { readFences, type Fence } from '../support/fences.ts';
import { mariadbMissing, mariadbUrl } from '../support/mariadb.ts';

const DATABASES = ['shop', 'tidemark_store', 'tidemark_reports'];
const STAYS_OPEN = /^npx tidemark (coordinator|executor) start/;

let folder: string;
let server: Connection;
let environment: NodeJS.ProcessEnv;
const terminals = new Map<string, { readonly process: ChildProcess; said: string }>();

describe.skipIf(mariadbMissing())('the README by hand', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-by-hand-'));
    const root = resolve(dirname(await builtCli()), '../..');
    for (const name of ['dist', 'node_modules', 'package.json'])
      await symlink(join(root, name), join(folder, name));
    const url = await mariadbUrl();
    server = await mysql.createConnection({ uri: url, multipleStatements: true, dateStrings: true });
    await dropDatabases();
    const [shop, store, reports] = DATABASES.map((name) => `${url}/${name}`);
    environment = { ...process.env, SHOP_URL: shop, STORE_URL: store, REPORTS_URL: reports };
  });

  afterAll(async () => {
    for (const command of [...terminals.keys()]) await kill(command);
    await dropDatabases();
    await server.end();
    await rm(folder, { recursive: true });
  });

  it('shows what it says, also when the leader is killed', { timeout: 90_000 }, async () => {
    const fences = (await readFences('README.md')).filter(({ heading }) => heading === 'By hand');
    const query = fences.at(-1);
    for (const fence of fences.slice(0, -1)) await doAsWritten(fence);
    await expectShown(query?.text ?? '');

    const leader = await leaderCommand();
    await kill(leader);
    await server.query("INSERT INTO shop.orders VALUES (4, 'NL', '2026-11-21', 100)");
    await eventually(leaderCommand, { withinMs: 15_000, what: everythingSaid });
    await eventually(async () => expect(await countries()).toEqual(['DE', 'NL']), {
      withinMs: 30_000,
      what: everythingSaid,
    });
    await openTerminal(leader);
    await expectShown(`${query?.text ?? ''}\n-- NL  2026-11-21  1  100  100`);
  });
});

async function doAsWritten({ language, text }: Fence): Promise<void> {
  if (language === 'yaml') await writeFile(join(folder, 'shop.yaml'), text);
  else if (language === 'sql') await server.query(text);
  else if (STAYS_OPEN.test(text)) await openTerminal(text);
  else await run(text);
}

/** Starts what stays open, and waits for what its reader would see: a coordinator takes calls. */
async function openTerminal(command: string): Promise<void> {
  const child = spawn('bash', ['-c', command], { cwd: folder, env: environment, detached: true });
  const terminal = { process: child, said: '' };
  const hear = (chunk: Buffer): void => {
    terminal.said += chunk.toString();
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  terminals.set(command, terminal);
  const port = /--client-listen \S+:(\d+)/.exec(command)?.[1];
  if (port === undefined) return;
  await eventually(() => accepts(Number(port)), { withinMs: 15_000, what: everythingSaid });
}

/** The command of the terminal in which the leader runs. */
async function leaderCommand(): Promise<string> {
  const { coordinators } = JSON.parse(await run('npx tidemark cluster status --output json')) as {
    coordinators: { endpoint: string; role?: string }[];
  };
  const leader = coordinators.find(({ role }) => role === 'leader')?.endpoint ?? 'nobody';
  const command = [...terminals.keys()].find((candidate) => candidate.includes(`--client-listen ${leader}`));
  if (command === undefined) throw new Error(`no leader among ${JSON.stringify(coordinators)}`);
  return command;
}

async function countries(): Promise<string[]> {
  const [rows] = await server.query<RowDataPacket[]>(
    'SELECT country FROM tidemark_reports.country_day ORDER BY 1',
  );
  return rows.map((row) => String(row['country']));
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } finally {
    socket.destroy();
  }
}

/** Runs commands to their end; each must succeed. Resolves with what they wrote to stdout. */
async function run(commands: string): Promise<string> {
  const child = spawn('bash', ['-e', '-c', commands], { cwd: folder, env: environment });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`exit code ${code}: ${commands}\n${out}${err}\n${everythingSaid()}`);
  return out;
}

/** The query's own comment says what it shows: a line of column names, then the rows. */
async function expectShown(query: string): Promise<void> {
  const lines = query.split('\n');
  const shown = lines.flatMap((line) => (line.startsWith('-- ') ? [line.slice(3).trim().split(/\s+/)] : []));
  const sql = lines.filter((line) => !line.startsWith('-- ')).join('\n');
  const [names, ...expected] = shown;
  const check = async (): Promise<void> => {
    const [rows, fields] = await server.query({ sql, rowsAsArray: true });
    expect(fields.map(({ name }) => name)).toEqual(names);
    expect((rows as unknown[][]).map((row) => row.map(String))).toEqual(expected);
  };
  await eventually(check, { withinMs: 30_000, what: everythingSaid });
}

async function kill(command: string): Promise<void> {
  const terminal = terminals.get(command);
  terminals.delete(command);
  if (terminal?.process.pid === undefined || terminal.process.exitCode !== null) return;
  const gone = once(terminal.process, 'close');
  process.kill(-terminal.process.pid, 'SIGKILL');
  await gone;
}

async function dropDatabases(): Promise<void> {
  for (const name of DATABASES) await server.query(`DROP DATABASE IF EXISTS ${name}`);
}

function everythingSaid(): string {
  return [...terminals].map(([command, { said }]) => `--- ${command}\n${said.slice(-1500)}`).join('\n');
}
