/**
 * What comes back as it was some time ago, under load: a report database restored in place from a dump, and
 * a cluster restored from a snapshot that does not know of the newest windows. Run as often as asked for by
 * `npm run test:restores`.
 */
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { must } from '../../src/base/index.ts';
import { writeSnapshotFile } from '../../src/backup/index.ts';
import { restoreCluster } from '../../src/coordinator/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { differences } from './differences.ts';
import type { ReplicatedServer } from '../support/replicated.ts';
import { ReportWorld } from './report-world.ts';

const CASES = Number(process.env['TIDEMARK_RESTORE_CASES'] ?? '0');
/** Windows that are merged after the copy was taken. */
const LATER = 4;

async function dumpOf({ url }: ReplicatedServer): Promise<string> {
  const { hostname, port, username, password } = new URL(url);
  const asked = [`-h${hostname}`, `-P${port}`, `-u${username}`, `-p${password}`];
  const { stdout } = await promisify(execFile)(
    'mariadb-dump',
    [...asked, '--single-transaction', '--skip-lock-tables', '--databases', 'reports'],
    { maxBuffer: 2 ** 28 },
  );
  return stdout;
}

/** A dump up to the ledger and that too, and the rest: rows of reports, and the epoch that they were of. */
function cutBehindLedger(dump: string): [string, string] {
  const heading = '-- Table structure for table ';
  const at = dump.indexOf(heading, dump.indexOf(`${heading}\`tm_ledger\``) + 1);
  const settings = dump.slice(0, dump.indexOf('-- Current Database'));
  const use = 'USE `reports`;\n';
  return [dump.slice(0, at), settings + use + dump.slice(at)];
}

describe.skipIf(mariadbMissing() || CASES === 0)('what comes back as it was', () => {
  let world: ReportWorld;

  beforeAll(async () => {
    world = await ReportWorld.start(0);
  }, 90_000);

  afterAll(() => world.stop(), 60_000);

  afterEach(() => world.endLoad());

  const rounds = Array.from({ length: CASES }, (_, at) => at + 1);

  it.each(rounds)('a report database from a dump under load, %i', { timeout: 120_000 }, async () => {
    const server = world.group.server(0);
    world.beginLoad();
    await world.mergesOn(server, 1);
    const dump = await dumpOf(server);
    await world.mergesOn(server, LATER);
    const before = await world.lastMerged(server);
    const epoch = await world.epochOn(server);
    // Nobody may write there before it is whole; the account that restores it may.
    await server.query('SET GLOBAL read_only = ON');
    await server.load([dump]);
    // Before anybody may write there again: it is right within milliseconds.
    expect(await world.lastMerged(server)).toBeLessThan(before);
    await server.query('SET GLOBAL read_only = OFF');
    await eventually(async () => (await world.epochOn(server)) > epoch, { withinMs: 40_000 });
    await world.mergesOn(server, LATER);
    await world.endLoad();
    await world.becomesRight(server, 60_000);
    expect(await differences(world.cluster.client())).toEqual([]);
  });

  it.each(rounds)(
    'a report database from a dump that is loaded over an epoch and what was merged under it, %i',
    { timeout: 120_000 },
    async () => {
      const server = world.group.server(0);
      world.beginLoad();
      await world.mergesOn(server, 1);
      const parts = cutBehindLedger(await dumpOf(server));
      await world.mergesOn(server, LATER);
      const former = await world.epochOn(server);
      let meanwhile = 0n;
      await server.load(parts, async () => {
        const look = async (): Promise<boolean> => (meanwhile = await world.epochOn(server)) > former;
        await eventually(look, { withinMs: 40_000, everyMs: 100, what: 'an epoch amid the load' });
        await world.mergesOn(server, LATER);
      });
      await eventually(async () => (await world.epochOn(server)) > meanwhile, { withinMs: 40_000 });
      await world.mergesOn(server, LATER);
      await world.endLoad();
      await world.becomesRight(server, 60_000);
    },
  );

  it.each(rounds)('a cluster from a snapshot under load, %i', { timeout: 120_000 }, async (round) => {
    const server = world.group.server(0);
    const { cluster } = world;
    world.beginLoad();
    await world.mergesOn(server, 1);
    const file = join(cluster.folder, `snapshot-${round}`);
    await writeSnapshotFile(file, cluster.client().snapshot());
    await world.mergesOn(server, LATER);
    const epoch = await world.epochOn(server);
    const { dataFolder, peerAddress, clientAddress } = must(cluster.slots[0], 'slot');
    await cluster.stopOne(0);
    await world.stopExecutors();
    await rm(dataFolder, { recursive: true });
    await restoreCluster({ file, dataFolder, own: { peerAddress, clientAddress } });
    await cluster.startOne(0);
    await cluster.leader();
    await world.startExecutors();
    await eventually(async () => (await world.epochOn(server)) > epoch, { withinMs: 40_000 });
    await world.mergesOn(server, LATER);
    await world.endLoad();
    await world.becomesRight(server, 60_000);
    expect(await differences(world.cluster.client())).toEqual([]);
  });
});
