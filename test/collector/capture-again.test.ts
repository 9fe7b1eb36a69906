import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TidemarkError } from '../../src/base/index.ts';
import { changeTable, MARK_TABLE, type CompiledSource } from '../../src/job/index.ts';
import type { SealedWindow } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { compile, openFixture, SealLog, SOURCE_ID, startCollector, type Fixture } from './fixtures.ts';

interface Told {
  readonly window: SealedWindow;
  readonly problem: TidemarkError | undefined;
}

describe.skipIf(mariadbMissing())('a sealed window that the store lost', () => {
  let fixture: Fixture;
  let source: CompiledSource;
  const log = new SealLog();
  beforeAll(async () => {
    fixture = await openFixture('mysql');
    await fixture.exec('CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, cents BIGINT)');
    await fixture.exec('INSERT INTO orders VALUES (1, 10)');
    source = await compile(fixture, ['orders']);
    const collector = startCollector(fixture, source, log);
    await eventually(() => log.windows.length > 0, { withinMs: 20_000 });
    for (let id = 2; id < 6; id += 1) {
      await fixture.exec(
        `INSERT INTO orders VALUES (${id}, 0)`,
        `UPDATE orders SET cents = ${id} WHERE id = ${id}`,
      );
      await eventually(() => rowsOf(log.windows) === 1n + 3n * BigInt(id - 1), { withinMs: 20_000 });
    }
    await collector.stop();
  });
  afterAll(() => fixture.close());

  const rowsOf = (windows: readonly SealedWindow[]): bigint =>
    windows.reduce((sum, { shards }) => sum + (shards[0]?.rows ?? 0n), 0n);

  /** Starts a collector that is told what is lost, and stops it when it has said what became of each. */
  async function recapture(lost: readonly SealedWindow[], now = source): Promise<Told[]> {
    const told: Told[] = [];
    const reseal = (window: SealedWindow, problem?: TidemarkError): Promise<void> => {
      told.push({ window, problem });
      return Promise.resolve();
    };
    const collector = startCollector(fixture, now, log, { lost, reseal });
    await Promise.race([
      eventually(() => told.length === lost.length, { withinMs: 20_000 }),
      collector.ended,
    ]);
    await collector.stop();
    return told;
  }

  /** What the store holds of a window under an epoch: its mark, and its rows in order. */
  async function held(window: SealedWindow, epoch: bigint): Promise<unknown> {
    const name = changeTable({ sourceId: SOURCE_ID, table: 'orders', schemaVersion: 1 });
    const of = [SOURCE_ID, epoch, window.window];
    return fixture.store.use('test', async (connection) => [
      (
        await connection.query(
          `SELECT _rows, _checksum FROM ${MARK_TABLE} WHERE _source = ? AND _epoch = ? AND _window = ?`,
          of,
        )
      ).rows,
      (
        await connection.query(
          `SELECT _w, id, cents FROM ${name} WHERE _source = ? AND _epoch = ? AND _window = ? ORDER BY _n`,
          of,
        )
      ).rows,
    ]);
  }

  rule('collector.capturesAgainTooMuch', 'is captured again, row for row, under the new epoch', async () => {
    const lost = log.windows.slice(1);
    const told = await recapture(lost);
    expect(told.map(({ problem }) => problem)).toEqual(lost.map(() => undefined));
    for (const [at, sealed] of lost.entries()) {
      const window = told[at]?.window;
      expect(window).toMatchObject({
        window: sealed.window,
        from: sealed.from,
        to: sealed.to,
        epoch: log.epoch,
      });
      expect(window?.shards).toEqual(sealed.shards);
      expect(await held(sealed, log.epoch)).toEqual(await held(sealed, sealed.epoch));
    }
  });

  it('is told to be lost for good when its source has it no more, and the rest goes on', async () => {
    const [snapshot, second] = log.windows as [SealedWindow, SealedWindow];
    const beyond = { ...second, to: second.to.replace(/\d+$/, '999999999') };
    const before = log.windows.length;
    const told = await recapture([snapshot, beyond]);
    expect(told.map(({ problem }) => problem?.code)).toEqual(['WINDOW_LOST', 'WINDOW_LOST']);
    const collector = startCollector(fixture, source, log);
    await eventually(() => log.windows.length > before, { withinMs: 20_000 });
    await collector.stop();
  });

  rule('collector.capturesAgainWithAdded', 'is captured again without tables added since', async () => {
    const [sealed] = log.windows.slice(-1) as [SealedWindow];
    await fixture.exec(
      'CREATE OR REPLACE TABLE more (id BIGINT NOT NULL PRIMARY KEY)',
      'INSERT INTO more VALUES (1)',
      'UPDATE orders SET cents = cents + 1 WHERE id = 3',
    );
    const collector = startCollector(fixture, source, log);
    const past = (): boolean => rowsOf(log.windows.slice(Number(sealed.window))) > 0n;
    await eventually(past, { withinMs: 20_000 });
    await collector.stop();
    const lost = log.windows.slice(Number(sealed.window));
    const told = await recapture(lost, await compile(fixture, ['orders', 'more']));
    expect(told.map(({ problem }) => problem)).toEqual(lost.map(() => undefined));
    expect(told.map(({ window }) => window.shards)).toEqual(lost.map(({ shards }) => shards));
  });
});
