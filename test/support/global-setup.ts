/** Runs once around a whole vitest run: the broker (see broker-protocol.ts) and what it starts. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { TestProject } from 'vitest/node';
import { prepareServerFolder } from '../../src/dev/private-mysql-folder.ts';
import { findServerProgram } from '../../src/dev/private-mysql-program.ts';
import { startPrivateServer, type PrivateServer } from '../../src/dev/private-mysql.ts';
import type { BrokerReply, BrokerRequest } from './broker-protocol.ts';
import { steadyAddresses } from './steady-addresses.ts';

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  project.provide('mariadb', await mariadbState());
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-test-'));
  let server: Promise<PrivateServer> | undefined;
  let build: Promise<string> | undefined;
  let data: Promise<string> | undefined;
  const nextAddress = steadyAddresses();

  const answer = async (request: BrokerRequest): Promise<string> => {
    if (request.want === 'build') return (build ??= runBuild());
    if (request.want === 'address') return nextAddress();
    if (request.want === 'mariadb data') return (data ??= makeData(join(folder, 'mariadb-data')));
    server ??= startPrivateServer({ folder: join(folder, 'mariadb'), name: 'test server', durable: false });
    return (await server).url;
  };
  const listener = createServer((socket) => {
    serve(socket, answer);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  project.provide('brokerPort', (listener.address() as AddressInfo).port);

  return async () => {
    listener.close();
    if (server !== undefined) await stopIfStarted(server);
    await rm(folder, { recursive: true, force: true });
  };
}

/** One line of JSON in, one line out. A test process may be gone before its answer: then nobody needs it. */
function serve(socket: Socket, answer: (request: BrokerRequest) => Promise<string>): void {
  socket.on('error', () => socket.destroy());
  createInterface({ input: socket }).once('line', (line) => {
    void answer(JSON.parse(line) as BrokerRequest).then(
      (value) => reply(socket, { ok: true, value }),
      (error: unknown) => reply(socket, { ok: false, message: String(error) }),
    );
  });
}

function reply(socket: Socket, message: BrokerReply): void {
  socket.end(`${JSON.stringify(message)}\n`);
}

async function mariadbState(): Promise<'present' | 'missing' | 'not wanted'> {
  if (process.env['TIDEMARK_WITHOUT_MYSQL'] === '1') return 'not wanted';
  return findServerProgram().then(
    () => 'present',
    () => 'missing',
  );
}

/** A server that failed to start was reported by the test that asked for it. */
async function stopIfStarted(server: Promise<PrivateServer>): Promise<void> {
  const [settled] = await Promise.allSettled([server]);
  if (settled.status === 'fulfilled') await settled.value.stop();
}

/** An empty data folder that no server has used yet: a copy of it is faster than another. */
async function makeData(folder: string): Promise<string> {
  const { dataFolder } = await prepareServerFolder(folder, await findServerProgram());
  return dataFolder;
}

/** Process tests run `dist`, which is built here, so that it is never older than the sources. */
async function runBuild(): Promise<string> {
  await promisify(execFile)(process.execPath, ['scripts/build.mjs']);
  return 'dist';
}
