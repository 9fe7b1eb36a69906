// What a chaos run happens in: MariaDB processes for the source, the store and the reports, three
// coordinators and two executors of the test build, and what they tell.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { stringify } from 'yaml';
import { connect } from '../../dist/client/index.js';
import { EventLog } from '../../dist/dev/chaos/event-log.js';
import { LocalCluster } from '../../dist/dev/cluster.js';
import { openDataFolder } from '../../dist/dev/data-folder.js';
import { startPrivateServer } from '../../dist/dev/private-mysql.js';
import { jobOf, SCHEMA, SHOPS, url } from './job.mjs';

const DATABASE = 'chaos';
const APPLY_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 100;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Repeats `check` until it gives something true; undefined if it does not within `withinMs`. */
export async function within(withinMs, check) {
  const endsAt = performance.now() + withinMs;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > endsAt) return undefined;
    await pause(LOOK_EVERY_MS);
  }
}

/**
 * Starts everything and declares the job.
 * @param options `windowMs`, `say` (line) => void, `random` (below) => number
 */
export async function startWorld({ windowMs, say, random }) {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-chaos-'));
  const endings = [async () => rmSync(folder, { recursive: true, force: true })];
  const end = async () => {
    for (const ending of endings.toReversed()) await ending();
  };
  try {
    const servers = await startServers(folder, endings);
    const urls = Object.fromEntries(
      Object.entries(servers).map(([role, server]) => [role, `${server.url}/${DATABASE}`]),
    );
    const source = await mysql.createConnection({ uri: urls.source });
    endings.push(() => source.end());
    for (const statement of SCHEMA) await source.query(statement);
    const shops = Array.from({ length: SHOPS }, (_, n) => [n + 1, ['de', 'fr', 'jp'][n % 3]]);
    await source.query('INSERT INTO shops VALUES ?', [shops]);
    const environment = Object.fromEntries(
      Object.entries(urls).map(([role, text]) => [`CHAOS_${role.toUpperCase()}`, text]),
    );
    const told = { hits: new EventLog(), records: new EventLog(), crashes: [] };
    const data = join(folder, 'cluster');
    const opened = await openDataFolder(data, { engine: 'mysql', id: randomBytes(4).toString('hex') });
    endings.push(() => opened.unlock());
    const cluster = new LocalCluster({
      folder: opened,
      testBuild: true,
      environment,
      events: eventsOf(told, say),
    });
    endings.push(() => cluster.stop());
    await cluster.start();
    const client = connect({ endpoints: cluster.endpoints, name: 'chaos', deadlineMs: 30_000 });
    endings.push(async () => client.close());
    await client.init(cluster.endpoints);
    await cluster.leader();
    const stores = Object.fromEntries(
      storeRoles(urls).map((role) => [role, url(`CHAOS_${role.toUpperCase()}`)]),
    );
    await apply(client, stringify(jobOf({ stores, windowMs })));
    cluster.started();
    return { folder, servers, urls, source, cluster, client, say, random, ...told, end };
  } catch (error) {
    await end();
    throw error;
  }
}

export const storeRoles = (urls) => Object.keys(urls).filter((role) => role.startsWith('store'));

async function startServers(folder, endings) {
  const servers = {};
  for (const role of ['source', 'store1', 'reports']) {
    const server = await startPrivateServer({ folder: join(folder, role), name: role });
    endings.push(() => server.stop());
    const connection = await mysql.createConnection({ uri: server.url });
    await connection.query(`CREATE DATABASE ${DATABASE} CHARACTER SET utf8mb4`);
    await connection.end();
    servers[role] = server;
  }
  return servers;
}

function eventsOf({ hits, records, crashes }, say) {
  return {
    onHit: (child, hit) => hits.add({ child, hit }),
    onLogLine: (child, record) => records.add({ child, record }),
    onCrash: (child, exit) => {
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
