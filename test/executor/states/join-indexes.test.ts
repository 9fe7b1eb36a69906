import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createJoinIndexes, createStateTables } from '../../../src/executor/states/index.ts';
import { copyJoinIndexes } from '../../../src/executor/states/join-indexes.ts';
import { stateTableSql } from '../../../src/executor/states/state-tables.ts';
import {
  contributionQueries,
  JOB_FORMAT,
  STATE_OPEN,
  type CapturedTable,
  type CompiledReport,
} from '../../../src/job/index.ts';
import { openEngine, type SqlEngine } from '../../../src/sql/index.ts';
import { freshDatabase, mariadbMissing } from '../../support/mariadb.ts';
import { eventually } from '../../support/eventually.ts';
import { rule } from '../../support/rule.ts';
import { makeShard, SOURCE, sourceOf } from './store-shard.ts';

const captured = (table: string, schemaVersion: number): CapturedTable => ({
  table,
  schemaVersion,
  columns: ['id', 'shop', 'order_id'].map((name) => ({ name, type: 'BIGINT', nullable: true })),
  primaryKey: ['id'],
  shardKey: 'shop',
});
const TABLES = [captured('orders', 1), captured('payments', 1)];
const REPORT: CompiledReport = {
  format: JOB_FORMAT,
  name: 'paid',
  source: 'shop',
  database: 'reports',
  inputs: [
    { alias: 'o', kind: 'changes', table: 'orders' },
    { alias: 'p', kind: 'changes', table: 'payments' },
  ],
  keys: [{ name: 'shop', type: 'BIGINT', nullable: false }],
  measures: [],
  sql: 'SELECT o.shop AS shop, o._w * p._w AS _w FROM o JOIN p ON p.shop = o.shop AND p.order_id = o.id',
  parts: 1,
};

/** Columns of the indexes that joins asked for, table by table. */
async function indexed(engine: SqlEngine, table: string): Promise<string[]> {
  const { rows } = await engine.use('test', (connection) =>
    connection.query(
      engine.kind === 'mysql'
        ? `SELECT GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX) FROM information_schema.STATISTICS
           WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND INDEX_NAME LIKE 'tm_join%'
           GROUP BY INDEX_NAME`
        : `SELECT (SELECT GROUP_CONCAT(name) FROM pragma_index_info(l.name)) FROM pragma_index_list(?) AS l
           WHERE l.name LIKE 'tm_join%'`,
      [table],
    ),
  );
  return rows.map(([columns]) => String(columns)).sort();
}

async function check(engine: SqlEngine): Promise<void> {
  const source = sourceOf(TABLES);
  await createStateTables(engine, SOURCE, source);
  for (let times = 0; times < 2; times++) {
    await createJoinIndexes(engine, { sourceId: SOURCE, tables: TABLES }, [REPORT]);
  }
  expect(await indexed(engine, 'tm_state_4_payments_v1')).toEqual(['order_id,shop']);
  // By the primary key there is one row to find.
  expect(await indexed(engine, 'tm_state_4_orders_v1')).toEqual([]);
  const next = captured('payments', 3);
  await engine.use('test', async (connection) => {
    for (const sql of stateTableSql(engine.dialect, SOURCE, next)) await connection.query(sql);
    await copyJoinIndexes(connection, engine.dialect, SOURCE, next);
    await copyJoinIndexes(connection, engine.dialect, SOURCE, next);
  });
  expect(await indexed(engine, 'tm_state_4_payments_v3')).toEqual(['order_id,shop']);
}

/** Two make them while the table is held, so that neither finds the other's. */
async function makeTwice(): Promise<void> {
  const database = await freshDatabase('indexes');
  const engine = openEngine({ kind: 'mysql', url: database.url });
  const held = await engine.connect({ purpose: 'hold' });
  try {
    await createStateTables(engine, SOURCE, sourceOf(TABLES));
    await held.begin('write');
    await held.query('SELECT * FROM tm_state_4_payments_v1');
    const make = (): Promise<void> =>
      createJoinIndexes(engine, { sourceId: SOURCE, tables: TABLES }, [REPORT]);
    const both = Promise.allSettled([make(), make()]);
    const waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'CREATE INDEX%'";
    const wait = async (): Promise<boolean> => {
      const { rows } = await held.query(`${waiting} AND db = DATABASE()`);
      return rows[0]?.[0] === 2n;
    };
    await eventually(wait, { withinMs: 10_000, what: 'two that make the index' });
    await held.rollback();
    expect((await both).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    expect(await indexed(engine, 'tm_state_4_payments_v1')).toEqual(['order_id,shop']);
  } finally {
    held.destroy();
    await engine.close();
    await database.drop();
  }
}

describe.skipIf(mariadbMissing())('an index of row states on MariaDB', () => {
  rule('states.indexMadeTwiceFails', 'may be made by two prepares at once', makeTwice);
});

describe('indexes of row states', () => {
  it('are what joins go by, and follow into the next schema version, on the embedded engine', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-indexes-'));
    const engine = openEngine({ kind: 'embedded', file: join(folder, 'store.db') });
    await check(engine).finally(() => engine.close());
    await rm(folder, { recursive: true });
  });

  it.skipIf(mariadbMissing())('are the same on MariaDB', async () => {
    const database = await freshDatabase('indexes');
    const engine = openEngine({ kind: 'mysql', url: database.url });
    await check(engine).finally(() => engine.close());
    await database.drop();
  });

  it.skipIf(mariadbMissing())(
    'are what MariaDB may use, never that of open row versions, which are nearly all',
    async () => {
      const database = await freshDatabase('indexes');
      const engine = openEngine({ kind: 'mysql', url: database.url });
      try {
        const source = sourceOf(TABLES);
        await makeShard(engine, source);
        await createJoinIndexes(engine, { sourceId: SOURCE, tables: TABLES }, [REPORT]);
        const open = Array.from({ length: 100 }, (_none, n) => [n, n % 5, n, 1, STATE_OPEN]);
        const columns = ['id', 'shop', 'order_id', '_from', '_to'];
        const possible = await engine.use('test', async (connection) => {
          await connection.insertRows('tm_state_4_payments_v1', columns, open);
          const { additive } = contributionQueries({
            dialect: engine.dialect,
            report: REPORT,
            sourceId: SOURCE,
            tables: TABLES,
            of: { windows: [{ window: 2, epoch: 1n, day: '2026-11-22' }] },
            prepared: 0n,
          });
          const plan = await connection.query(`EXPLAIN ${additive.sql}`, additive.params);
          return plan.rows.filter(([, , table]) => table === 'tm_state_4_payments_v1').map((row) => row[4]);
        });
        expect(possible).toHaveLength(1);
        expect(String(possible[0])).toMatch(/^tm_join_[0-9a-f]+$/);
      } finally {
        await engine.close();
        await database.drop();
      }
    },
  );
});
