/**
 * The primary of a report database fails over to a replica that lacks its last commits (design 6.12): with
 * nothing under way, and under load with merges inside their transactions, while the former primary still
 * answers and takes writes. With 'sink.namedPrimaryOnly' it is never right again.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { must } from '../../src/base/index.ts';
import type { AuditedDifference } from '../../src/client/index.ts';
import { runCli } from '../cli/run-cli.ts';
import { eventually } from '../support/eventually.ts';
import { builtCli } from '../support/dist.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import type { ReplicatedServer } from '../support/replicated.ts';
import { differences } from './differences.ts';
import { ReportWorld } from './report-world.ts';

/** Windows that are merged on the former primary alone. */
const LOST = 4;

describe.skipIf(mariadbMissing())('a report database whose primary fails over', () => {
  let world: ReportWorld;

  beforeAll(async () => {
    // The command of the audit is built before its time counts.
    [world] = await Promise.all([ReportWorld.start(2), builtCli()]);
  }, 180_000);

  afterAll(() => world.stop(), 60_000);

  const isReconciled = (server: ReplicatedServer, former: bigint): Promise<unknown> =>
    eventually(async () => (await world.epochOn(server)) > former, {
      withinMs: 30_000,
      everyMs: 100,
      what: 'a fresh epoch on the promoted server',
    });

  it(
    'is audited beside running work: no difference, and then a planted one',
    { timeout: 60_000 },
    async () => {
      const server = world.group.server(0);
      const audit = async (): Promise<{
        code: number | null;
        differences: AuditedDifference[];
        looks: number;
      }> => {
        const [endpoint] = world.cluster.addresses;
        const { code, stdout } = await runCli([
          'audit',
          '--endpoints',
          must(endpoint, 'address'),
          '--output',
          'json',
        ]);
        const { compared, differences } = JSON.parse(stdout) as {
          compared: { compared: string }[];
          differences: AuditedDifference[];
        };
        return { code, differences, looks: compared.reduce((sum, one) => sum + Number(one.compared), 0) };
      };
      world.beginLoad();
      await world.mergesOn(server, 1);
      const clean = await audit();
      expect(clean).toMatchObject({ code: 0, differences: [] });
      expect(clean.looks).toBeGreaterThan(2);
      const [first] = await server.query(
        'SELECT MIN(report_id) AS report, MIN(generation) AS g FROM reports.tm_fold',
      );
      const table = `reports.tm_contribution_${String(first?.['report'])}_${String(first?.['g'])}`;
      await server.query(`UPDATE ${table} SET token = token - 1 WHERE first_window = 1`);
      const planted = await audit();
      await server.query(`UPDATE ${table} SET token = token + 1 WHERE first_window = 1`);
      await world.endLoad();
      expect(planted.code).toBe(1);
      expect(planted.differences).toMatchObject([
        { code: 'CONTRIBUTION_ROWS', report: 'by_shop', firstWindow: '1', in: 'reports' },
      ]);
    },
  );

  it('is right with the dimension copies it has, and begins anew when they are lost', async () => {
    const primary = world.group.server(0);
    await world.moveShops();
    await world.business(10);
    await world.becomesRight(primary);
    await world.loseCopy();
    await world.business(10);
    await world.becomesRight(primary);
  });

  it('is right again by itself with nothing under way', { timeout: 90_000 }, async () => {
    const [former, promoted, later] = [world.group.server(0), world.group.server(1), world.group.server(2)];
    await later.goDeaf();
    await promoted.goDeaf();
    await world.business(50);
    await world.becomesRight(former);
    const had = await world.lastMerged(promoted);
    expect(await world.lastMerged(former)).toBeGreaterThan(had);
    const epoch = await world.epochOn(promoted);
    await former.kill();
    await promoted.promote();
    await world.becomesRight(promoted);
    await isReconciled(promoted, epoch);
    expect(await differences(world.cluster.client())).toEqual([]);
    // It had no more than the promoted one.
    await later.query('STOP SLAVE');
    await later.follow(promoted);
    await later.catchUp(promoted);
  });

  it(
    'is right again with merges under way while the former primary answers',
    { timeout: 90_000 },
    async () => {
      const [former, promoted] = [world.group.server(1), world.group.server(2)];
      world.beginLoad();
      await world.mergesOn(former, 1);
      await promoted.goDeaf();
      await world.mergesOn(former, LOST);
      const epoch = await world.epochOn(promoted);
      // Merges stand still inside their transactions, with everything written but the watermark.
      const held = await former.hold('SELECT * FROM reports.tm_watermark FOR UPDATE');
      await eventually(async () => (await former.waiting()) > 0, { withinMs: 20_000 });
      expect(await world.lastMerged(promoted)).toBeLessThan(await world.lastMerged(former));
      await promoted.promote();
      await held.release();
      await isReconciled(promoted, epoch);
      await world.mergesOn(promoted, LOST);
      // A writer that takes either server for the primary is refused by the other one.
      expect(await world.epochOn(former)).not.toBe(await world.epochOn(promoted));
      await former.kill();
      await world.mergesOn(promoted, LOST);
      await world.endLoad();
      await world.becomesRight(promoted);
      expect(await differences(world.cluster.client())).toEqual([]);
    },
  );
});
