/** A store shard with change rows that the test writes itself, sealed window by sealed window. */
import { createStoreTables } from '../../../src/collector/index.ts';
import { createStateTables } from '../../../src/executor/states/index.ts';
import {
  CHANGE_COLUMNS,
  changeTable,
  MARK_COLUMNS,
  MARK_TABLE,
  type CapturedTable,
  type CompiledSource,
} from '../../../src/job/index.ts';
import type { SqlEngine, SqlValue } from '../../../src/sql/index.ts';
import type { SealedWindow } from '../../../src/wire/index.ts';

export const SOURCE = 4;
export const EPOCH = (8_000_000n << 40n) | 1n;
const CHECKSUM = '0123456789abcdef';
const DAY = '2026-11-22';

export type Row = readonly SqlValue[];

/** One image of a row, with its weight. */
export interface Change {
  readonly table: string;
  readonly weight: 1n | -1n;
  readonly row: Row;
}

export function sourceOf(tables: readonly CapturedTable[]): CompiledSource {
  return {
    format: 1,
    name: 'shop',
    engine: 'mysql',
    database: { mysql: { url: { env: 'NONE' } } },
    tables,
    window: { lengthMs: 1_000, rowsMax: 1_000, bytesMax: 1_000_000 },
  };
}

export async function makeShard(engine: SqlEngine, source: CompiledSource): Promise<void> {
  await createStoreTables(engine, SOURCE, source);
  await createStateTables(engine, SOURCE, source);
}

/** The seal of a window, as the leader sends it, with the rows that each shard has. */
export function seal(
  source: CompiledSource,
  window: number,
  rows: Readonly<Record<string, number>>,
): SealedWindow {
  return {
    window: BigInt(window),
    epoch: EPOCH,
    from: `${window - 1}`,
    to: `${window}`,
    day: DAY,
    coversMs: 0n,
    topologyVersion: 1,
    shards: Object.entries(rows).map(([shard, count]) => ({
      shard,
      rows: BigInt(count),
      checksum: CHECKSUM,
    })),
    schemaVersions: source.tables.map(({ table, schemaVersion }) => ({ table, version: schemaVersion })),
  };
}

/** Writes the change rows of a window in their order, and the mark after them. */
export async function writeWindow(
  engine: SqlEngine,
  source: CompiledSource,
  window: number,
  changes: readonly Change[],
): Promise<void> {
  const before = Array.from({ length: window - 1 }, () => undefined);
  await writeWindows(engine, source, SOURCE, [...before, changes]);
}

/** Writes windows from 1 on; those that are undefined are there already. */
export async function writeWindows(
  engine: SqlEngine,
  source: CompiledSource,
  sourceId: number,
  windows: readonly (readonly Change[] | undefined)[],
): Promise<void> {
  await engine.use('test', async (connection) => {
    for (const { table, schemaVersion, columns } of source.tables) {
      const rows = windows.flatMap((changes = [], index) =>
        changes.flatMap((change, at) =>
          change.table === table
            ? [[sourceId, EPOCH, DAY, index + 1, at + 1, change.weight, ...change.row]]
            : [],
        ),
      );
      if (rows.length === 0) continue;
      const names = [...CHANGE_COLUMNS, ...columns.map(({ name }) => name)];
      await connection.insertRows(changeTable({ sourceId, table, schemaVersion }), names, rows);
    }
    const marks = windows.flatMap((changes, index) =>
      changes === undefined ? [] : [[sourceId, EPOCH, index + 1, changes.length, CHECKSUM]],
    );
    await connection.insertRows(MARK_TABLE, MARK_COLUMNS, marks);
  });
}
