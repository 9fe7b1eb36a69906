// What a chaos run happens in: MariaDB processes for the source, the store and the reports, three
// coordinators and two executors of the test build, and what they tell.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { connect } from '../../dist/client/index.js';
import { EventLog } from '../../dist/dev/chaos/event-log.js';
import { LocalCluster } from '../../dist/dev/cluster.js';
import { openDataFolder } from '../../dist/dev/data-folder.js';
import { Events } from './events.mjs';
import { jobTextOf, REPORTS, SCHEMA, SHOPS } from './job.mjs';
import { Network } from './network.mjs';
import { Group, makeTemplate, Server } from './servers.mjs';
import { SourceLog } from './source-log.mjs';
import { within } from './timing.mjs';

const APPLY_WITHIN_MS = 60_000;
/**
 * Starts everything and declares the job.
 * @param options `windowMs`, `say` (line) => void, `random` (below) => number
 */
export async function startWorld({ windowMs, say, random }) {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-chaos-'));
  const endings = [];
  const end = async ({ keep }) => {
    for (const ending of endings.toReversed()) await ending();
    if (keep) say(`kept: ${folder}`);
    else rmSync(folder, { recursive: true, force: true });
  };
  try {
    const servers = await startServers(folder, endings);
    const source = await mysql.createConnection({ uri: servers.source.rootUrl });
    endings.push(() => source.end());
    for (const statement of SCHEMA) await source.query(statement);
    const log = await SourceLog.make(source);
    const shops = Array.from({ length: SHOPS }, (_, n) => [n + 1, ['de', 'fr', 'jp'][n % 3]]);
    await source.query('INSERT INTO shops VALUES ?', [shops]);
    const told = {
      hits: new EventLog(),
      records: new EventLog(),
      crashes: [],
      failing: new Set(),
      events: new Events(),
    };
    const started = await startCluster({ folder, servers, told, say, endings });
    const { cluster, advertised } = started;
    const client = connect({ endpoints: cluster.endpoints, name: 'chaos', deadlineMs: 30_000 });
    endings.push(async () => client.close());
    await client.init(advertised);
    await cluster.leader();
    const variables = (group) => group.servers.map(variableOf);
    const { stores, reports } = servers;
    const job = { stores: stores.map(variables), databases: variables(reports), windowMs, reports: REPORTS };
    await apply(client, jobTextOf(job));
    cluster.started();
    return { folder, servers, source, log, client, ...started, job, say, random, ...told, end };
  } catch (error) {
    await end({ keep: false });
    throw error;
  }
}

const variableOf = ({ name }) => `CHAOS_${name.toUpperCase()}`;

/** Three coordinators and two executors, and the network between executors and all that they talk to. */
async function startCluster({ folder, servers, told, say, endings }) {
  const children = [];
  const network = new Network(() => children);
  endings.push(() => network.close());
  const groups = [...servers.stores, servers.reports].flatMap((group) => group.servers);
  const environment = { CHAOS_SOURCE: await through(network, 'source', servers.source.rootUrl) };
  for (const server of groups) {
    environment[variableOf(server)] = await through(network, server.name, server.url);
  }
  const data = join(folder, 'cluster');
  const opened = await openDataFolder(data, { engine: 'mysql', id: randomBytes(4).toString('hex') });
  endings.push(() => opened.unlock());
  const advertised = [];
  const members = [];
  for (const [at, { peerPort, clientPort }] of opened.settings.coordinators.entries()) {
    const name = `c${at + 1}`;
    advertised.push(`127.0.0.1:${await network.before(name, clientPort)}`);
    members.push({ data: join(data, name), peer: `127.0.0.1:${peerPort}` });
  }
  const events = eventsOf(told, say);
  const cluster = new LocalCluster({ folder: opened, testBuild: true, environment, advertised, events });
  children.push(...cluster.executors);
  endings.push(() => cluster.stop());
  await cluster.start();
  return { cluster, network, members, advertised };
}

/** The same URL through the network between executors and servers. */
async function through(network, name, url) {
  const proxied = new URL(url);
  proxied.port = String(await network.before(name, Number(proxied.port)));
  return proxied.href;
}

async function startServers(folder, endings) {
  const template = await makeTemplate(join(folder, 'template'));
  const group = (name) => Group.start(name, folder, template);
  const started = await Promise.allSettled([
    Server.start('source', join(folder, 'source'), template),
    group('store1'),
    group('store2'),
    group('reports'),
  ]);
  for (const { value } of started) if (value !== undefined) endings.push(() => value.stop());
  const failed = started.find(({ status }) => status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  const [source, store1, store2, reports] = started.map(({ value }) => value);
  await source.makeDatabase();
  return { source, stores: [store1, store2], reports };
}

function eventsOf({ hits, records, crashes, failing, events }, say) {
  return {
    onHit: (child, hit) => hits.add({ child, hit }),
    onLogLine: (child, record) => {
      events.logged(record);
      records.add({ child, record });
    },
    onCrash: (child, exit) => {
      // It was made to.
      if (failing.delete(child)) return;
      const why = exit.error === undefined ? '' : `: ${exit.error.code} ${exit.error.message}`;
      crashes.push(`${child.name} (${exit.signal ?? `exit code ${exit.code}`}${why})`);
      say(`>>> ${crashes.at(-1)} by itself`);
    },
  };
}

/** Until an executor has joined nobody can check the job. */
async function apply(client, text) {
  let failure;
  const applied = await within(APPLY_WITHIN_MS, async () => {
    try {
      return await client.apply(text);
    } catch (error) {
      if (error.retry === 'never' && error.code !== 'NO_EXECUTOR') throw error;
      failure = error;
      return undefined;
    }
  });
  if (applied === undefined) throw new Error('the job was not accepted in time', { cause: failure });
}
