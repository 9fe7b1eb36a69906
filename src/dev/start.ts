/** Brings a local cluster from nothing, or from a kept folder, to a declared sample job. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isTidemarkError, sleep, systemClock } from '../base/index.ts';
import { connect, type TidemarkClient } from '../client/index.ts';
import { LocalCluster, type ClusterEvents } from './cluster.ts';
import { openDataFolder, removeDataFolder, type DataFolder } from './data-folder.ts';
import { openEmbeddedDatabases, openMysqlDatabases, type DevDatabases } from './databases.ts';
import type { DevOptions } from './options.ts';
import { startPrivateServer } from './private-mysql.ts';
import { sampleJobFile, sampleSchema, seedDimensions } from './sample/index.ts';

export interface Started {
  readonly folder: DataFolder;
  readonly databases: DevDatabases;
  readonly cluster: LocalCluster;
  readonly client: TidemarkClient;
}

/** What was started, last first; each is ended even if another one's end fails. */
export type Endings = (() => Promise<void>)[];

const APPLY_WITHIN_MS = 60_000;
const APPLY_PAUSE_MS = 100;

export async function openDatabases(
  options: DevOptions,
  endings: Endings,
  say: (line: string) => void,
): Promise<{ folder: DataFolder; databases: DevDatabases }> {
  const folder = await openDataFolder(options.data, {
    engine: options.mysql ? 'mysql' : 'embedded',
    // Not the run's seed: two runs at a time must not want the same ports.
    id: randomBytes(4).toString('hex'),
  });
  endings.push(() => folder.unlock());
  if (options.ephemeral) endings.push(() => removeDataFolder(folder));
  if (options.mysqlUrl !== undefined && !options.mysql) say('--mysql-url is not used without --mysql');
  const databases = options.mysql
    ? await openMysqlDatabases(await serverUrl(options, folder, endings, say), folder.settings.id)
    : openEmbeddedDatabases(folder);
  if (options.ephemeral && options.mysqlUrl !== undefined) endings.push(() => databases.drop());
  endings.push(() => databases.close());
  await databases.engines.source.use('sample', async (connection) => {
    for (const statement of sampleSchema(databases.kind)) await connection.query(statement);
    await seedDimensions(connection);
  });
  return { folder, databases };
}

async function serverUrl(
  { mysqlUrl }: DevOptions,
  folder: DataFolder,
  endings: Endings,
  say: (line: string) => void,
): Promise<string> {
  if (mysqlUrl !== undefined) return mysqlUrl;
  say('starting a private MariaDB or MySQL server');
  const server = await startPrivateServer({ folder: join(folder.path, 'mysql'), name: 'dev' });
  endings.push(() => server.stop());
  return server.url;
}

/** Starts coordinators and executors, makes the cluster unless it is there, and declares the sample job. */
export async function startCluster(
  { folder, databases }: { readonly folder: DataFolder; readonly databases: DevDatabases },
  {
    events,
    chaos,
    endings,
  }: { readonly events: ClusterEvents; readonly chaos: boolean; readonly endings: Endings },
): Promise<{ cluster: LocalCluster; client: TidemarkClient }> {
  const { environment } = databases;
  const cluster = new LocalCluster({ folder, testBuild: chaos, environment, events });
  endings.push(() => cluster.stop());
  await cluster.start();
  const client = connect({ endpoints: cluster.endpoints, name: 'dev' });
  endings.push(() => {
    client.close();
    return Promise.resolve();
  });
  const statuses = await cluster.doors.statuses();
  if (statuses.some((status) => status?.clusterId === '')) await client.init(cluster.endpoints);
  await cluster.leader();
  const job = sampleJobFile(databases.refs);
  await writeFile(join(folder.path, 'job.yaml'), job);
  await declare(client, job, cluster);
  cluster.started();
  return { cluster, client };
}

/** The job is checked by an executor, and executors need a moment to find the leader. */
async function declare(client: TidemarkClient, job: string, cluster: LocalCluster): Promise<void> {
  const started = systemClock.monotonicMs();
  for (;;) {
    try {
      await client.apply(job);
      return;
    } catch (error) {
      const waiting = isTidemarkError(error) && error.retry !== 'never';
      if (!waiting || systemClock.monotonicMs() - started > APPLY_WITHIN_MS) throw error;
    }
    cluster.throwIfFailed();
    await sleep(systemClock, APPLY_PAUSE_MS);
  }
}
