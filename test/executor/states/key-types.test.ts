import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asToken, must } from '../../../src/base/index.ts';
import { createStoreTables } from '../../../src/collector/index.ts';
import { advanceStates, createStateTables } from '../../../src/executor/states/index.ts';
import { STATE_OPEN, stateTable, type CapturedTable } from '../../../src/job/index.ts';
import { openEngine, type SqlEngine, type SqlValue } from '../../../src/sql/index.ts';
import { freshDatabase, mariadbMissing } from '../../support/mariadb.ts';
import { seal, sourceOf, writeWindows, type Change, type Row } from './store-shard.ts';

const column = (name: string, type: string): CapturedTable['columns'][number] => ({
  name,
  type,
  nullable: true,
});

/** Primary keys by what MariaDB keeps them as; each with two values. */
const KEY_TYPES: readonly (readonly [string, SqlValue, SqlValue])[] = [
  ['INT', 1n, -2n],
  ['BIGINT UNSIGNED', 2n ** 64n - 1n, 2n ** 63n],
  ['DECIMAL(20,4)', '1.0000', '-0.0001'],
  ['TEXT(1200)', 'a', 'a '],
  ['BYTES(8)', new Uint8Array([1]), new Uint8Array([1, 0])],
  ['BYTES(1200)', new Uint8Array([1]), new Uint8Array([1, 32])],
  ["ENUM('b','a')", 'a', 'b'],
  ["SET('b','a')", 'b,a', ''],
  ['DATE', '2026-11-22', '0999-01-01'],
  ['DATETIME(3)', '2026-11-22 10:00:00.001', '2026-11-22 10:00:00.002'],
  ['TIMESTAMP(0)', '2026-11-22 10:00:00', '1999-11-22 10:00:00'],
];

describe.skipIf(mariadbMissing())('row states on MariaDB by the type of the primary key', () => {
  let engine: SqlEngine;
  let close: () => Promise<void>;
  beforeAll(async () => {
    const database = await freshDatabase('states');
    engine = openEngine({ kind: 'mysql', url: database.url });
    close = () => engine.close().then(database.drop);
  });
  afterAll(() => close());

  it.each(KEY_TYPES.map((row, at) => [row[0], at] as const))('%s tells rows apart', async (type, at) => {
    const [, first, second] = must(KEY_TYPES[at], 'a type');
    const table: CapturedTable = {
      table: `by_${at}`,
      schemaVersion: 1,
      columns: [column('id', type), column('n', 'BIGINT')],
      primaryKey: ['id'],
      shardKey: 'id',
    };
    const source = { ...sourceOf([table]), name: `source_${at}` };
    const sourceId = 100 + at;
    await createStoreTables(engine, sourceId, source);
    await createStateTables(engine, sourceId, source);
    const image = (weight: 1n | -1n, ...row: Row): Change => ({ table: table.table, weight, row });
    const windows = [[image(1n, first, 1n), image(1n, second, 2n)], [image(-1n, second, 2n)]];
    await writeWindows(engine, source, sourceId, windows);
    await advanceStates(engine, {
      sourceId,
      source,
      captured: () => table,
      shard: 'main',
      windows: windows.map((changes, window) => seal(source, window + 1, { main: changes.length })),
      token: asToken(1n << 41n),
      marker: 'test',
      formerChains: [],
      signal: new AbortController().signal,
    });
    const name = stateTable({ sourceId, table: table.table, schemaVersion: 1 });
    const { rows } = await engine.use('test', (connection) =>
      connection.query(`SELECT n, _to FROM ${name} ORDER BY n`),
    );
    expect(rows).toEqual([
      [1n, BigInt(STATE_OPEN)],
      [2n, 2n],
    ]);
  });
});
