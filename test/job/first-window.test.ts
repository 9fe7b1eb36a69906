import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkFirstWindow, type CapturedTable, type CompiledReport } from '../../src/job/index.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { codeOf } from '../sql/engine-contract.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';

const ORDERS: CapturedTable = {
  table: 'orders',
  schemaVersion: 1,
  columns: [
    { name: 'id', type: 'BIGINT', nullable: false },
    { name: 'shop', type: 'TEXT(8)', nullable: false },
  ],
  primaryKey: ['id'],
  shardKey: 'id',
};

const REPORT: CompiledReport = {
  format: 1,
  name: 'orders_by_shop',
  source: 'shop',
  database: 'reports',
  inputs: [{ alias: 'o', kind: 'changes', table: 'orders' }],
  keys: [{ name: 'shop', type: 'TEXT(8)', nullable: false }],
  measures: [{ name: 'n', kind: 'count', type: 'BIGINT' }],
  sql: 'WITH x AS (SELECT shop, id AS n, _w FROM o) SELECT shop, n, _w FROM x -- all',
  parts: 1,
};

async function openPlace(kind: 'embedded' | 'mysql'): Promise<{ engine: SqlEngine; drop(): Promise<void> }> {
  if (kind === 'mysql') {
    const database = await freshDatabase('first');
    return { engine: openEngine({ kind: 'mysql', url: database.url }), drop: () => database.drop() };
  }
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-first-'));
  return {
    engine: openEngine({ kind: 'embedded', file: join(folder, 'source.db') }),
    drop: () => rm(folder, { recursive: true, force: true }),
  };
}

describe.each(['embedded', 'mysql'] as const)('the first window of a report on %s', (kind) => {
  describe.skipIf(kind === 'mysql' && mariadbMissing())('over five orders of two shops', () => {
    let place: Awaited<ReturnType<typeof openPlace>>;

    beforeAll(async () => {
      place = await openPlace(kind);
      await place.engine.use('test', async (connection) => {
        await connection.query(
          'CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, shop VARCHAR(8) NOT NULL)',
        );
        const rows = [1, 2, 3, 4, 5].map((id) => [id, id % 2 === 0 ? 'even' : 'odd']);
        await connection.insertRows('orders', ['id', 'shop'], rows);
      });
    });

    afterAll(async () => {
      await place.engine.close();
      await place.drop();
    });

    const check = (report: CompiledReport, rowsMax?: number): Promise<string> =>
      codeOf(
        place.engine.use('test', (connection) =>
          checkFirstWindow({ connection, dialect: place.engine.dialect, report, tables: [ORDERS] }, rowsMax),
        ),
      );

    it('is refused when its keys are more than one merge may hold, and says what to do', async () => {
      expect(await check(REPORT, 2)).toBe('no error');
      expect(await check(REPORT, 1)).toBe('CONTRIBUTION_TOO_LARGE');
      expect(await check(REPORT)).toBe('no error');
    });

    it('counts the values of a least or greatest value with their keys', async () => {
      const report: CompiledReport = {
        ...REPORT,
        measures: [{ name: 'n', kind: 'max', type: 'BIGINT' }],
      };
      expect(await check(report, 4)).toBe('CONTRIBUTION_TOO_LARGE');
      expect(await check(report, 5)).toBe('no error');
    });
  });
});
