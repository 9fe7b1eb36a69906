/**
 * The primary of a report database fails over to a replica that lacks its last commits (design 6.12): with
 * nothing under way, and under load with merges inside their transactions, while the former primary still
 * answers and takes writes. With 'sink.namedPrimaryOnly' it is never right again.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import type { ReplicatedServer } from '../support/replicated.ts';
import { ReportWorld } from './report-world.ts';

/** The longer one runs by `npm run test:restores` alone. */
const CASES = Number(process.env['TIDEMARK_RESTORE_CASES'] ?? '0');
/** Windows that are merged on the former primary alone. */
const LOST = 4;

describe.skipIf(mariadbMissing())('a report database whose primary fails over', () => {
  let world: ReportWorld;

  beforeAll(async () => {
    world = await ReportWorld.start(2);
  }, 90_000);

  afterAll(() => world.stop(), 60_000);

  const isReconciled = (server: ReplicatedServer, former: bigint): Promise<unknown> =>
    eventually(async () => (await world.epochOn(server)) > former, {
      withinMs: 30_000,
      everyMs: 100,
      what: 'a fresh epoch on the promoted server',
    });

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
    // It had no more than the promoted one.
    await later.query('STOP SLAVE');
    await later.follow(promoted);
    await later.catchUp(promoted);
  });

  it.skipIf(CASES === 0)(
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
    },
  );
});
