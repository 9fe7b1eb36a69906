// What comes back as it was some time ago: the report database from a dump taken under load, the cluster from
// a snapshot that does not know of the newest windows. And a stranger whose locks merges run into.
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import mysql from 'mysql2/promise';
import { mergedAgain, sourceNow } from './placed.mjs';
import { within } from './timing.mjs';

const run = promisify(execFile);
const LATER_WINDOWS = 4n;
const CONSEQUENCE_WITHIN_MS = 60_000;
const PROGRAM = 'dist/cli/main.js';

async function windowsLater(world, count) {
  const before = await sourceNow(world);
  const later = await within(CONSEQUENCE_WITHIN_MS, async () => {
    const source = await sourceNow(world);
    return source !== undefined && source.mergedWindow >= before.lastWindow + count;
  });
  return later === true;
}

const sinkEpoch = async (server) =>
  BigInt((await server.query('SELECT epoch FROM chaos.tm_sink'))[0]?.epoch ?? 0);
const newest = async (server) =>
  Number((await server.query('SELECT MAX(last_window) AS n FROM chaos.tm_watermark'))[0].n);

const aboveEpoch = (world, epoch) =>
  within(CONSEQUENCE_WITHIN_MS, async () => (await sinkEpoch(world.servers.reports.primary)) > epoch);

async function reportsRestored(world) {
  const { primary, replica } = world.servers.reports;
  const dump = join(world.folder, 'reports.sql');
  await primary.dump(dump);
  if (!(await windowsLater(world, LATER_WINDOWS))) return false;
  const epoch = await sinkEpoch(primary);
  // Nobody may write there before it is whole; the account that restores it may.
  await primary.query('SET GLOBAL read_only = ON');
  const before = await newest(primary);
  await primary.load(dump);
  const after = await newest(primary);
  await primary.query('SET GLOBAL read_only = OFF');
  const reconciled = await aboveEpoch(world, epoch);
  const merged = await mergedAgain(world);
  return after < before && reconciled === true && merged && (await replica.catchUp(primary));
}

/** Every member is restored from the same file; what the old cluster sealed after it is forgotten. */
async function clusterRestored(world) {
  const { cluster, servers, folder, members, advertised } = world;
  const file = join(folder, `cluster-${(world.restores = (world.restores ?? 0) + 1)}.tms`);
  const before = await sourceNow(world);
  const tidemark = async (...words) => (await run(process.execPath, [PROGRAM, ...words])).stdout;
  await tidemark('snapshot', 'save', file, `--endpoints=${cluster.endpoints.join(',')}`);
  if (!(await windowsLater(world, LATER_WINDOWS))) return false;
  const epoch = await sinkEpoch(servers.reports.primary);
  const all = members.map(({ peer }, at) => `${peer}/${advertised[at]}`).join(',');
  await world.forgetting(async () => {
    for (const child of cluster.children) {
      child.kill();
      await child.exited;
    }
    let restoreId = [];
    for (const [at, { data, peer }] of members.entries()) {
      await rm(data, { recursive: true });
      const own = [`--data-folder=${data}`, `--peer-address=${peer}`, `--client-address=${advertised[at]}`];
      const more = [`--members=${all}`, ...restoreId, '--output=json'];
      const told = JSON.parse(await tidemark('snapshot', 'restore', file, ...own, ...more));
      restoreId = [`--restore-id=${told.restoreId}`];
    }
    for (const child of cluster.children) child.start();
    return before.lastWindow;
  });
  await cluster.leader();
  const reconciled = await aboveEpoch(world, epoch);
  return reconciled === true && mergedAgain(world);
}

/** A stranger holds what a merge needs next, and asks for what it has; the lighter one is ended. */
async function mergeDeadlocks(world) {
  const { primary } = world.servers.reports;
  const stranger = await mysql.createConnection({ uri: primary.rootUrl });
  const { mark } = world.records;
  try {
    await stranger.query('CREATE TABLE IF NOT EXISTS strangers (id BIGINT PRIMARY KEY)');
    await stranger.query('START TRANSACTION');
    // Heavier than a merge: it is not the one that is ended.
    await stranger.query('DELETE FROM strangers');
    await stranger.query('INSERT INTO strangers SELECT seq FROM seq_1_to_20000');
    await stranger.query('SELECT * FROM tm_watermark FOR UPDATE');
    const waits = await within(CONSEQUENCE_WITHIN_MS, async () => {
      const rows = await primary.query('SELECT COUNT(*) AS n FROM information_schema.innodb_lock_waits');
      return Number(rows[0].n) > 0;
    });
    await stranger.query('SELECT COUNT(*) FROM tm_ledger FOR UPDATE');
    const again = ({ record }) => record.msg === 'a sink transaction is run again';
    const seen = await world.records.after(mark, again, CONSEQUENCE_WITHIN_MS);
    await stranger.query('ROLLBACK');
    return waits === true && seen !== undefined && mergedAgain(world);
  } catch (error) {
    if (error.code !== 'ER_LOCK_DEADLOCK') throw error;
    return false;
  } finally {
    stranger.destroy();
  }
}

export const RESTORES = {
  'the reports restored from a dump taken under load': reportsRestored,
  'the cluster restored from a snapshot': clusterRestored,
  'a merge deadlocks with a stranger': mergeDeadlocks,
};
