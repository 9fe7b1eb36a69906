/**
 * Two collectors of one source alive at once, on one store: a deposed one that cannot hear of it goes on
 * writing. None of its rows is ever read, and none of its seals is accepted (design 6.3, 6.4).
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TidemarkError, asToken, must } from '../../src/base/index.ts';
import { setMutation } from '../../src/base/test-build-active.ts';
import { advanceStates, createStateTables } from '../../src/executor/states/index.ts';
import { changeTable, MARK_TABLE, stateTable, type CompiledSource } from '../../src/job/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import {
  endCollectors,
  SOURCE_ID,
  SealLog,
  compile,
  markOf,
  openFixture,
  replay,
  rowText,
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
    await createStateTables(fixture.store, SOURCE_ID, source);
    log = new SealLog();
  });

  afterEach(async () => {
    setMutation('collector.rowsWithoutEpoch', false);
    await endCollectors(running.splice(0), () => fixture.close());
  });

  const marksOf = async (epoch: bigint): Promise<number> => {
    const { rows } = await fixture.store.use('test', (connection) =>
      connection.query(`SELECT COUNT(*) FROM ${MARK_TABLE} WHERE _epoch = ?`, [epoch]),
    );
    return Number(rows[0]?.[0]);
  };

  const rowsOf = async (epoch: bigint): Promise<number> => {
    const table = changeTable({ sourceId: SOURCE_ID, table: 'item', schemaVersion: 1 });
    const { rows } = await fixture.store.use('test', (connection) =>
      connection.query(`SELECT COUNT(*) FROM ${table} WHERE _epoch = ?`, [epoch]),
    );
    return Number(rows[0]?.[0]);
  };

  /** Advances the row states by every sealed window, as a grant does. */
  const advance = async (): Promise<void> => {
    await advanceStates(fixture.store, {
      sourceId: SOURCE_ID,
      source,
      captured: (table) =>
        must(
          source.tables.find((one) => one.table === table),
          'a captured table',
        ),
      shard: 's0',
      windows: log.windows,
      token: asToken(log.epoch + 1n),
      marker: 'test',
      formerChains: [],
      signal: new AbortController().signal,
    });
  };

  /** The rows that the row states show as of a window. */
  const rowsAsOf = async (window: number): Promise<string[]> => {
    const table = stateTable({ sourceId: SOURCE_ID, table: 'item', schemaVersion: 1 });
    const { rows } = await fixture.store.use('test', (connection) =>
      connection.query(`SELECT id, n FROM ${table} WHERE _from <= ? AND _to > ?`, [window, window]),
    );
    return rows.map((row) => rowText(row)).sort();
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
      // No window without a row: its next one is that of the first change.
      idleSealMs: 600_000,
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
    // Its next window holds one row, and is marked; the other collector will cut at another place.
    await change(1);
    await eventually(async () => (await marksOf(deposed)) === 2, { withinMs: 30_000, what: 'its mark' });
    await change(20);
    const second = startCollector(fixture, source, log);
    running.push(second);
    await change(20);
    // 7 inserts and 34 updates; what the first could not seal, both have written.
    await eventually(() => sealedRows() === 7 + 2 * 34, { withinMs: 30_000, what: 'all rows are sealed' });
    expect(await rowsOf(deposed)).toBeGreaterThan(0);
    expect(new Set(log.windows.slice(1).map(({ epoch }) => epoch))).toEqual(new Set([log.epoch]));
    expect(await replay(fixture, source, 'item', log.windows)).toEqual(
      await tableRows(fixture, source, 'item'),
    );
    // Row states are made of sealed windows alone, and no collector has touched them.
    await advance();
    for (const { window } of log.windows) {
      const until = await replay(fixture, source, 'item', log.windows.slice(0, Number(window)));
      expect(await rowsAsOf(Number(window))).toEqual([...until.keys()].sort());
    }
    // Its marks do not stand for the windows either.
    for (const window of log.windows) {
      expect(await markOf(fixture, window)).toEqual([window.shards[0]?.rows, window.shards[0]?.checksum]);
    }
    arrive();
    await expect(first.ended).rejects.toMatchObject({ code: 'STALE_EPOCH' });
    expect(refused).toBeInstanceOf(TidemarkError);
    await change(3);
    await eventually(() => sealedRows() === 7 + 2 * 37, { withinMs: 30_000, what: 'the second goes on' });
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
