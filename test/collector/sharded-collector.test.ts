/** A collector over two real store shards: where rows lie, what a seal says, and what a lost shard does. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import { slotOf } from '../../src/collector/store/shard-slot.ts';
import { MARK_TABLE, type CompiledSource } from '../../src/job/index.ts';
import type { EngineKind, SqlEngine, SqlValue } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import {
  endCollectors,
  SealLog,
  compile,
  markOf,
  openFixture,
  rowText,
  startCollector,
  tableRows,
  windowRows,
  type Fixture,
  type RunningCollector,
} from './fixtures.ts';

const SHOPS = 40;
const TABLES = [
  'CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, shop BIGINT, note VARCHAR(20))',
  'CREATE TABLE rates (code VARCHAR(3) NOT NULL PRIMARY KEY, rate BIGINT NOT NULL)',
];

function suite(kind: EngineKind): void {
  let fixture: Fixture;
  let source: CompiledSource;
  let log: SealLog;
  const running: RunningCollector[] = [];

  const start = (): RunningCollector => {
    const collector = startCollector(fixture, source, log);
    running.push(collector);
    return collector;
  };

  beforeEach(async () => {
    fixture = await openFixture(kind, 2);
    await fixture.exec(...TABLES, "INSERT INTO rates VALUES ('EUR', 1), ('USD', 2)");
    const orders = Array.from({ length: SHOPS }, (_, id) => `(${id}, ${id}, 'new')`).join(', ');
    await fixture.exec(`INSERT INTO orders VALUES ${orders}, (${SHOPS}, NULL, 'no shop')`);
    const compiled = await compile(fixture, ['orders', 'rates']);
    const keys: Readonly<Record<string, string | null>> = { orders: 'shop', rates: null };
    const tables = compiled.tables.map((table) => ({ ...table, shardKey: keys[table.table] ?? null }));
    source = { ...compiled, tables };
    log = new SealLog();
  });

  afterEach(async () => {
    await endCollectors(running.splice(0), () => fixture.close());
  });

  const caughtUp = async (): Promise<void> => {
    const now = Date.now();
    await eventually(() => Number(log.windows.at(-1)?.coversMs ?? 0) > now + 1, { withinMs: 15_000 });
  };

  /** Net rows of all sealed windows on one shard. */
  const netOn = async (store: SqlEngine, table: string): Promise<Map<string, readonly SqlValue[]>> => {
    const net = new Map<string, { weight: number; row: readonly SqlValue[] }>();
    for (const window of log.windows) {
      for (const [weight, ...row] of await windowRows(fixture, source, table, window, store)) {
        const sum = (net.get(rowText(row))?.weight ?? 0) + Number(weight);
        net.set(rowText(row), { weight: sum, row });
      }
    }
    const left = [...net].filter(([, { weight }]) => weight !== 0);
    for (const [text, { weight }] of left) expect([text, weight]).toEqual([text, 1]);
    return new Map(left.map(([text, { row }]) => [text, row]));
  };

  const expectSpread = async (): Promise<void> => {
    const found: string[] = [];
    for (const [at, store] of fixture.stores.entries()) {
      const orders = await netOn(store, 'orders');
      for (const [, row] of orders) {
        expect(Math.floor(slotOf(row[1] ?? null) / (LIMITS.storeSlots / 2))).toBe(at);
      }
      expect(orders.size).toBeGreaterThan(5);
      found.push(...orders.keys());
      const rates = await netOn(store, 'rates');
      expect([...rates.keys()].sort()).toEqual(
        [...(await tableRows(fixture, source, 'rates')).keys()].sort(),
      );
    }
    expect(found.sort()).toEqual([...(await tableRows(fixture, source, 'orders')).keys()].sort());
    for (const window of log.windows) {
      expect(window.shards.map(({ shard }) => shard)).toEqual(['s0', 's1']);
      for (const [at, { rows, checksum }] of window.shards.entries()) {
        expect(await markOf(fixture, window, fixture.stores[at])).toEqual([rows, checksum]);
      }
    }
  };

  it('puts each image on the shard of its own key, and marks both shards for each seal', async () => {
    const collector = start();
    await eventually(() => log.windows.length > 0, { withinMs: 15_000 });
    await fixture.transaction([
      'UPDATE orders SET shop = shop + 1 WHERE id < 20',
      "UPDATE rates SET rate = 3 WHERE code = 'USD'",
    ]);
    await fixture.exec('UPDATE orders SET shop = NULL WHERE id = 3', 'DELETE FROM orders WHERE id > 35');
    await caughtUp();
    await collector.stop();
    await expectSpread();
  });

  it('seals nothing while a shard is down, and loses nothing', async () => {
    const [, second] = fixture.stores;
    const rename = (from: string, to: string): Promise<unknown> | undefined =>
      second?.use('test', (connection) => connection.query(`ALTER TABLE ${from} RENAME TO ${to}`));
    const first = start();
    await eventually(() => log.windows.length > 0, { withinMs: 15_000 });
    await rename(MARK_TABLE, 'away');
    await fixture.exec("UPDATE orders SET note = 'changed'");
    await expect(first.ended).rejects.toMatchObject({
      code: 'TABLE_MISSING',
      message: expect.stringContaining('store shard s1: ') as string,
    });
    const sealed = log.windows.length;
    await expect(start().ended).rejects.toMatchObject({ code: 'TABLE_MISSING' });
    expect(log.windows).toHaveLength(sealed);
    await rename('away', MARK_TABLE);
    const third = start();
    await caughtUp();
    await third.stop();
    await expectSpread();
  });
}

describe('a collector over two shards, embedded', () => {
  suite('embedded');
});

describe.skipIf(mariadbMissing())('a collector over two shards, MariaDB', () => {
  suite('mysql');
});
