/**
 * Two collectors of one source alive at once, on one store: a deposed one that cannot hear of it goes on
 * writing. None of its rows is ever read, and none of its seals is accepted (design 6.3, 6.4).
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TidemarkError } from '../../src/base/index.ts';
import { setMutation } from '../../src/base/test-build-active.ts';
import { changeTable, type CompiledSource } from '../../src/job/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import {
  SOURCE_ID,
  SealLog,
  compile,
  markOf,
  openFixture,
  replay,
  startCollector,
  tableRows,
  type Fixture,
  type RunningCollector,
} from './fixtures.ts';

describe.skipIf(mariadbMissing())('two collectors, MariaDB', () => {
  let fixture: Fixture;
  let source: CompiledSource;
  let log: SealLog;
  const running: RunningCollector[] = [];

  beforeEach(async () => {
    fixture = await openFixture('mysql');
    await fixture.exec(`CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)`);
    source = await compile(fixture, ['item'], { rowsMax: 10 });
    log = new SealLog();
  });

  afterEach(async () => {
    setMutation('collector.rowsWithoutEpoch', false);
    for (const one of running.splice(0)) await one.stop().catch(() => undefined);
    await fixture.close();
  });

  const rowsOf = async (epoch: bigint): Promise<number> => {
    const table = changeTable({ sourceId: SOURCE_ID, table: 'item', schemaVersion: 1 });
    const { rows } = await fixture.store.use('test', (connection) =>
      connection.query(`SELECT COUNT(*) FROM ${table} WHERE _epoch = ?`, [epoch]),
    );
    return Number(rows[0]?.[0]);
  };

  const change = async (times: number): Promise<void> => {
    for (let at = 0; at < times; at += 1) {
      await fixture.exec(`INSERT INTO item VALUES (${at % 7}, 1) ON DUPLICATE KEY UPDATE n = n + 1`);
    }
  };

  const sealedRows = (): number =>
    log.windows.reduce((sum, { shards }) => sum + Number(shards[0]?.rows ?? 0n), 0);

  it('never reads a row of the deposed one, and refuses its seal', async () => {
    // The first collector's proposals do not arrive: it is cut off from the cluster, but not from the store.
    let arrive = (): void => undefined;
    const cutOff = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    let refused: unknown;
    const first = startCollector(fixture, source, log, {
      seal: async (window) => {
        if (log.windows.length > 0) await cutOff;
        try {
          log.seal(window);
        } catch (error) {
          refused = error;
          throw error;
        }
      },
    });
    running.push(first);
    const deposed = log.epoch;
    await eventually(() => log.windows.length === 1, { withinMs: 30_000, what: 'the snapshot' });
    await change(20);
    await eventually(async () => (await rowsOf(deposed)) > 0, { withinMs: 30_000, what: 'its rows' });
    const second = startCollector(fixture, source, log);
    running.push(second);
    await change(20);
    // 7 inserts and 33 updates; what the first could not seal, both have written.
    await eventually(() => sealedRows() === 7 + 2 * 33, { withinMs: 30_000, what: 'all rows are sealed' });
    expect(await rowsOf(deposed)).toBeGreaterThan(0);
    expect(new Set(log.windows.slice(1).map(({ epoch }) => epoch))).toEqual(new Set([log.epoch]));
    expect(await replay(fixture, source, 'item', log.windows)).toEqual(
      await tableRows(fixture, source, 'item'),
    );
    // Its marks do not stand for the windows either.
    for (const window of log.windows) {
      expect(await markOf(fixture, window)).toEqual([window.shards[0]?.rows, window.shards[0]?.checksum]);
    }
    arrive();
    await expect(first.ended).rejects.toMatchObject({ code: 'STALE_EPOCH' });
    expect(refused).toBeInstanceOf(TidemarkError);
    await change(3);
    await eventually(() => sealedRows() === 7 + 2 * 36, { withinMs: 30_000, what: 'the second goes on' });
    expect(await replay(fixture, source, 'item', log.windows)).toEqual(
      await tableRows(fixture, source, 'item'),
    );
  });

  it('would meet the rows of the deposed one under one epoch', async () => {
    setMutation('collector.rowsWithoutEpoch', true);
    const first = startCollector(fixture, source, log, { seal: () => new Promise(() => undefined) });
    running.push(first);
    await fixture.exec(`INSERT INTO item VALUES (1, 1)`);
    const second = startCollector(fixture, source, log);
    running.push(second);
    // Whoever comes second to a row's key ends.
    await expect(Promise.race([first.ended, second.ended])).rejects.toThrow(/Duplicate entry/);
  });
});
