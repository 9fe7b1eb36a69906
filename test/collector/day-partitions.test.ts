import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStoreTables, keepDayPartitions } from '../../src/collector/index.ts';
import type { CompiledSource } from '../../src/job/index.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';

const TABLE = 'tm_change_7_orders_v1';
const DAY_MS = 86_400_000;
const FIRST = Date.parse('2026-11-28T09:00:00Z');

const SOURCE: CompiledSource = {
  format: 2,
  name: 'shop',
  engine: 'mysql',
  database: { embedded: { file: 'not read here' } },
  tables: [
    {
      table: 'orders',
      schemaVersion: 1,
      columns: [{ name: 'id', type: 'BIGINT', nullable: false }],
      primaryKey: ['id'],
      shardKey: 'id',
    },
  ],
  window: { lengthMs: 1_000, rowsMax: 1_000, bytesMax: 1_000_000 },
};

describe.skipIf(mariadbMissing())('change tables on MariaDB', () => {
  let database: FreshDatabase;
  let engine: SqlEngine;

  beforeAll(async () => {
    database = await freshDatabase('days');
    engine = openEngine({ kind: 'mysql', url: database.url });
  });

  afterAll(async () => {
    await engine.close();
    await database.drop();
  });

  beforeEach(async () => {
    await engine.use('test', (connection) => connection.query(`DROP TABLE IF EXISTS ${TABLE}`));
    await createStoreTables(engine, 7, SOURCE, FIRST);
  });

  /** Rows as `[partition, window]`, and the partitions that there are. */
  const lying = async (): Promise<{ partitions: string[]; rows: string[] }> =>
    engine.use('test', async (connection) => {
      const { rows } = await connection.query(
        'SELECT partition_name FROM information_schema.partitions ' +
          'WHERE table_schema = DATABASE() AND table_name = ? ORDER BY partition_ordinal_position',
        [TABLE],
      );
      const partitions = rows.map(([name]) => String(name));
      const found: string[] = [];
      for (const name of partitions) {
        const held = await connection.query(`SELECT _window FROM ${TABLE} PARTITION (${name}) ORDER BY 1`);
        found.push(...held.rows.map(([window]) => `${name} ${String(window)}`));
      }
      return { partitions, rows: found };
    });

  const put = (day: string, window: number, epoch = 5): Promise<unknown> =>
    engine.use('test', (connection) =>
      connection.query(`INSERT INTO ${TABLE} VALUES (7, ${epoch}, '${day}', ${window}, 1, 1, 1)`),
    );

  const keep = (horizon: number, wallMs: number): Promise<void> =>
    engine.use('test', (connection) =>
      keepDayPartitions(connection, engine.dialect, { table: TABLE, sourceId: 7, horizon, wallMs }),
    );

  it('have a partition for each day ahead, and one for all others', async () => {
    await put('2026-11-27', 1);
    await put('2026-12-01', 2);
    await put('2026-12-02', 3);
    expect(await lying()).toEqual({
      partitions: ['p20261128', 'p20261129', 'p20261130', 'p20261201', 'p_rest'],
      rows: ['p20261128 1', 'p20261201 2', 'p_rest 3'],
    });
  });

  rule(
    'collector.dropsDayAboveHorizon',
    'lose a day that is wholly below the horizon, and no other',
    async () => {
      await engine.use('test', (connection) => connection.query(`DELETE FROM ${TABLE}`));
      await put('2026-11-28', 1);
      await put('2026-11-28', 2, 6);
      await put('2026-11-29', 3);
      await put('2026-11-29', 4, 6);
      await put('2026-12-01', 5);
      await keep(3, FIRST + 3 * DAY_MS);
      expect(await lying()).toMatchObject({
        partitions: expect.not.arrayContaining(['p20261128']) as string[],
        rows: ['p20261129 3', 'p20261129 4', 'p20261201 5'],
      });
      // The horizon has passed everything, but windows of yesterday and today may still be open.
      await keep(9, FIRST + 3 * DAY_MS);
      expect((await lying()).rows).toEqual(['p20261201 5']);
    },
  );

  it('get the days ahead that are missing, unless rows lie in the last partition', async () => {
    await put('2026-12-02', 3);
    await keep(0, FIRST + 2 * DAY_MS);
    expect((await lying()).partitions.at(-2)).toBe('p20261201');
    await engine.use('test', (connection) => connection.query(`DELETE FROM ${TABLE}`));
    await keep(0, FIRST + 2 * DAY_MS);
    const { partitions } = await lying();
    expect(partitions.slice(-3)).toEqual(['p20261202', 'p20261203', 'p_rest']);
    await put('2026-12-02', 3);
    expect((await lying()).rows).toEqual(['p20261202 3']);
    await keep(0, FIRST + 2 * DAY_MS);
    expect((await lying()).partitions).toEqual(partitions);
  });

  it('make a reader whose snapshot is older try again, without a wrong result', async () => {
    await put('2026-11-28', 1);
    await put('2026-12-01', 2);
    const reader = await engine.connect({ purpose: 'test' });
    await reader.begin('snapshot');
    await reader.query('SELECT 1');
    await keep(1, FIRST + 3 * DAY_MS);
    const read = reader.query(`SELECT * FROM ${TABLE}`).finally(() => reader.close());
    await expect(read).rejects.toMatchObject({ code: 'DB_BUSY' });
  });

  it('are counted on from their last day, however long nobody came by', async () => {
    await put('2026-11-29', 3);
    await keep(3, FIRST + 90 * DAY_MS);
    const { partitions, rows } = await lying();
    expect(rows).toEqual([]);
    expect(partitions.slice(1)).toEqual(['p20270226', 'p20270227', 'p20270228', 'p20270301', 'p_rest']);
  });
});
