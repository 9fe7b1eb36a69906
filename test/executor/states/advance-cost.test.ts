/** How advancing reads row states, where the server's statistics are of another time. */
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { asToken } from '../../../src/base/index.ts';
import { advanceStatements } from '../../../src/executor/states/advance-sql.ts';
import { advanceStates } from '../../../src/executor/states/index.ts';
import { STATE_MARK_TABLE, type CapturedTable } from '../../../src/job/index.ts';
import { openEngine, type SqlConnection, type SqlEngine } from '../../../src/sql/index.ts';
import { freshDatabase, mariadbMissing } from '../../support/mariadb.ts';
import { rule } from '../../support/rule.ts';
import { makeShard, seal, SOURCE, sourceOf, writeWindows, type Change } from './store-shard.ts';

const TOUCHED = 1_000;
const PAYMENTS: CapturedTable = {
  table: 'payments',
  schemaVersion: 1,
  columns: ['id', 'paid'].map((name) => ({ name, type: 'BIGINT', nullable: false })),
  primaryKey: ['id'],
  shardKey: 'id',
};
const STATES = 'tm_state_4_payments_v1';

describe.skipIf(mariadbMissing())('advancing row states on MariaDB', () => {
  const source = sourceOf([PAYMENTS]);
  let engine: SqlEngine;
  let close: () => Promise<void>;
  beforeAll(async () => {
    const database = await freshDatabase('advance_cost');
    engine = openEngine({ kind: 'mysql', url: database.url });
    close = async () => {
      await engine.close();
      await database.drop();
    };
    await makeShard(engine, source);
    const born = Array.from({ length: TOUCHED }, (_none, id): Change => {
      return { table: 'payments', weight: 1n, row: [BigInt(id), 1n] };
    });
    await writeWindows(engine, source, SOURCE, [undefined, undefined, born, born]);
  });
  afterAll(() => close());

  /** How the server would find the row states of touched rows. */
  const planned = async (connection: SqlConnection): Promise<{ key: unknown; rows: number }> => {
    const [closing] = advanceStatements(engine.dialect, SOURCE, PAYMENTS, [seal(source, 3, { main: 1 })]);
    const { columns, rows } = await connection.query(`EXPLAIN ${closing?.sql ?? ''}`, closing?.params);
    const at = (name: string): number => columns.findIndex((column) => column.name === name);
    const states = rows.find((row) => row[at('table')] === 's') ?? [];
    return { key: states[at('key')], rows: Number(states[at('rows')]) };
  };

  rule('states.anyIndex', 'looks touched rows up by their key, in a table that seems small too', async () => {
    await engine.use('test', async (connection) => {
      await connection.query(`DELETE FROM ${STATES}`);
      await connection.query(`INSERT INTO ${STATES} SELECT seq, 1, 0, 9007199254740991 FROM seq_1_to_5`);
      await connection.query(`ANALYZE TABLE ${STATES}`);
      // Reading the whole table for each touched row is what the server plans where it seems this small.
      expect((await planned(connection)).key).toBe('PRIMARY');
    });
  });

  /** Advances by one window, over a table with these rows and their statistics. */
  const advance = async (connection: SqlConnection, window: number, rows: number): Promise<void> => {
    await connection.query(`DELETE FROM ${STATES}`);
    await connection.query(`ALTER TABLE ${STATES} STATS_AUTO_RECALC = 0`);
    if (rows > 0) await connection.query(`INSERT INTO ${STATES} SELECT -seq, 1, 0, 1 FROM seq_1_to_${rows}`);
    await connection.query(`ANALYZE TABLE ${STATES}`);
    await connection.query(`REPLACE INTO ${STATE_MARK_TABLE} VALUES (?, ?, 0, 0, 0)`, [SOURCE, window - 1]);
    await advanceStates(engine, {
      sourceId: SOURCE,
      source,
      captured: () => PAYMENTS,
      shard: 'main',
      windows: [seal(source, window, { main: TOUCHED })],
      token: asToken((50_000n << 40n) + 7n),
      marker: 'test',
      formerChains: [],
      signal: new AbortController().signal,
    });
    // Another connection opens the table meanwhile, with the statistics that it finds.
    await connection.query(`FLUSH TABLES ${STATES}`);
  };

  rule('states.neverAnalyzed', 'takes statistics of a table that was empty', () =>
    engine.use('test', async (connection) => {
      await advance(connection, 3, 0);
      expect((await planned(connection)).rows).toBeLessThan(10);
    }),
  );

  rule('states.neverAnalyzed', 'takes statistics when the number of windows has doubled', () =>
    engine.use('test', async (connection) => {
      await advance(connection, 4, 1);
      expect((await planned(connection)).rows).toBeLessThan(10);
    }),
  );
});
