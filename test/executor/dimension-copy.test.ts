import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { must } from '../../src/base/index.ts';
import {
  readDimensions,
  writeDimension,
  type DimensionData,
} from '../../src/executor/prepare/dimension-copy.ts';
import { dimensionTable, type ColumnSpec } from '../../src/job/index.ts';
import { rule } from '../support/rule.ts';
import { freshEngine, type EngineKind, type FreshEngine } from '../support/engines.ts';
import { mariadbMissing } from '../support/mariadb.ts';

const COPY = { sourceId: 3, prepared: 77n, table: 'merchants' };
const NAME = dimensionTable(COPY);
const UNDER = { copy: COPY, grant: 77n };
const COLUMNS: readonly ColumnSpec[] = [
  { name: 'id', type: 'BIGINT', nullable: false },
  { name: 'country', type: 'TEXT(8)', nullable: true },
  { name: 'since', type: 'DATETIME(6)', nullable: true },
  { name: 'share', type: 'DOUBLE', nullable: true },
  { name: 'mark', type: 'BYTES(4)', nullable: true },
];

type Rows = DimensionData['rows'];

const pairs: readonly (readonly [EngineKind, EngineKind])[] = [
  ['embedded', 'embedded'],
  ['embedded', 'mysql'],
  ['mysql', 'embedded'],
  ['mysql', 'mysql'],
];

describe.each(pairs)('a dimension copied from %s to %s', (from, to) => {
  describe.skipIf((from === 'mysql' || to === 'mysql') && mariadbMissing())('is checked', () => {
    let source: FreshEngine;
    let store: FreshEngine;

    beforeEach(async () => {
      source = await freshEngine(from, 'dimension');
      store = await freshEngine(to, 'dimension');
      await source.engine.use('test', async (connection) => {
        await connection.query(
          'CREATE TABLE merchants (id BIGINT NOT NULL PRIMARY KEY, country VARCHAR(8), since DATETIME, ' +
            'share DOUBLE, mark BLOB)',
        );
        const names = COLUMNS.map(({ name }) => name);
        await connection.insertRows('merchants', names, [
          [1n, 'DE', '2026-01-31 10:00:00', 0.1, new Uint8Array([0, 255])],
          [2n, 'Zoë ', null, 3, null],
          [3n, null, '1999-12-31 23:59:59', -1e-300, new Uint8Array()],
        ]);
      });
    });

    afterEach(async () => {
      for (const place of [source, store]) {
        await place.close();
      }
    });

    const read = async (): Promise<DimensionData> => {
      const [data] = await readDimensions(source.engine, [{ table: 'merchants', columns: COLUMNS }]);
      if (data === undefined) throw new Error('nothing was read');
      return data;
    };
    const stored = async (): Promise<number> => {
      const { rows } = await store.engine.use('test', (connection) =>
        connection.query(`SELECT 1 FROM ${NAME}`),
      );
      return rows.length;
    };

    it('and passes when the store keeps it in its own way, once or again', async () => {
      const data = await read();
      for (let tries = 0; tries < 2; tries += 1) {
        await writeDimension(store.engine, UNDER, data);
        expect(await stored()).toBe(3);
      }
    });

    it.each([
      ['a value was changed', (rows: Rows) => [[1n, 'XX', ...(rows[0] ?? []).slice(2)], ...rows.slice(1)]],
      ['a row was lost', (rows: Rows) => rows.slice(1)],
    ])('and refused when %s', async (_what, harm) => {
      const data = await read();
      const harmed = writeDimension(store.engine, UNDER, { ...data, rows: harm(data.rows) });
      await expect(harmed).rejects.toMatchObject({
        code: 'DB_FAILED',
        message: expect.stringContaining('merchants') as string,
      });
      await expect(stored()).rejects.toMatchObject({ code: 'TABLE_MISSING' });
    });

    rule('executor.copyNamedEmpty', 'and is not to be seen before it is whole', async () => {
      const data = await read();
      const columns = [...COLUMNS, { name: 'more', type: 'BIGINT', nullable: false }];
      await expect(writeDimension(store.engine, UNDER, { ...data, columns })).rejects.toThrow();
      await expect(stored()).rejects.toMatchObject({ code: 'TABLE_MISSING' });
    });

    if (to === 'mysql') {
      rule('executor.copyWithoutPrimaryKey', 'and has a primary key where no value repeats', async () => {
        const columns = COLUMNS.slice(0, 1);
        await source.engine.use('test', async (connection) => {
          await connection.query('DROP TABLE IF EXISTS visits');
          await connection.query('CREATE TABLE visits (id BIGINT NOT NULL)');
          await connection.insertRows('visits', ['id'], [[7n], [7n]]);
        });
        const keys = async (table: string): Promise<unknown[]> => {
          const [data] = await readDimensions(source.engine, [{ table, columns }]);
          const copy = { ...COPY, table };
          await writeDimension(store.engine, { ...UNDER, copy }, must(data, 'a copy'));
          const { rows } = await store.engine.use('test', (connection) =>
            connection.query(
              'SELECT INDEX_NAME FROM information_schema.STATISTICS ' +
                'WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?',
              [dimensionTable(copy)],
            ),
          );
          await store.engine.use('test', (connection) =>
            connection.query(`DROP TABLE ${dimensionTable(copy)}`),
          );
          return rows.flat();
        };
        expect(await keys('merchants')).toEqual(['PRIMARY']);
        expect(await keys('visits')).toEqual(['id']);
      });

      rule('executor.copyNotAnalyzed', 'and is analysed, for plans of joins', async () => {
        // The pool has one connection, which all of this runs on.
        const analysed = async (): Promise<number> => {
          const { rows } = await store.engine.use('test', (connection) =>
            connection.query("SHOW SESSION STATUS LIKE 'Com_analyze'"),
          );
          return Number(rows[0]?.[1]);
        };
        const before = await analysed();
        await writeDimension(store.engine, UNDER, await read());
        expect(await analysed()).toBe(before + 1);
        await store.engine.use('test', (connection) => connection.query(`DROP TABLE ${NAME}`));
      });
    }
  });
});
