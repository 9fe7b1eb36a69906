/** The tables of a source, its store shards and its report database, in one database, for many cases. */
import { asToken, must } from '../../../src/base/index.ts';
import { createStoreTables } from '../../../src/collector/index.ts';
import { layoutOf, type ReportLayout } from '../../../src/executor/sink/layout.ts';
import type { KnownTask } from '../../../src/executor/sink/known-tasks.ts';
import { prepareReport } from '../../../src/executor/sink/report-view.ts';
import type { SinkGrant } from '../../../src/executor/sink/sink-epoch.ts';
import { createStateTables } from '../../../src/executor/states/index.ts';
import {
  changeTable,
  FOLD_TABLE,
  LEDGER_TABLE,
  MARK_TABLE,
  STATE_MARK_TABLE,
  stateTable,
  WATERMARK_TABLE,
} from '../../../src/job/index.ts';
import type { SqlEngine } from '../../../src/sql/index.ts';
import { TOKEN_BASE } from '../merge-fixture.ts';
import { prepareSink, reconcile } from '../sink-fixture.ts';
import { sourceOf } from '../states/store-shard.ts';
import { compiled, REPORTS, TABLES } from './shop-reports.ts';

export const SOURCE = sourceOf(TABLES);
/** As the report database knows it. */
export const SOURCE_ID = 1;
const GRANT = { clusterId: 'c'.repeat(32), epoch: asToken(TOKEN_BASE + 1n) };

/** Shards that have a part each lie in one database, as sources of their own. */
export const sourceOn = (part: number): number => 1 + part;
const SHARDS_MAX = 2;

/** Every report, on one shard and on two. */
const LAYOUTS = Object.keys(REPORTS).flatMap((name, at) =>
  [1, 2].map((shards) => ({ name, shards, reportId: 1 + 2 * at + shards })),
);

export function layoutFor(engine: SqlEngine, name: string, shards: number): ReportLayout {
  const { reportId } = must(
    LAYOUTS.find((one) => one.name === name && one.shards === shards),
    name,
  );
  const report = { ...compiled(name, engine.kind, shards), name: `report_${reportId}` };
  return layoutOf({ reportId, generation: 1 }, report);
}

export interface Place {
  readonly engine: SqlEngine;
  /** The second store shard of reports for which the rows of all are gathered. */
  readonly other: SqlEngine;
  /** Under the epoch that was set last. */
  grant: SinkGrant;
}

/** Makes the tables that all cases of an engine share: they take longer to make than a case. */
export async function openPlace(engine: SqlEngine, other: SqlEngine): Promise<Place> {
  await prepareSink(engine, GRANT);
  for (const { name, shards } of LAYOUTS) {
    const prepared = { ...GRANT, prepared: asToken(TOKEN_BASE), sourceId: SOURCE_ID };
    await prepareReport(engine, prepared, layoutFor(engine, name, shards));
  }
  for (let part = 0; part < SHARDS_MAX; part += 1) {
    await createStoreTables(engine, sourceOn(part), SOURCE);
    await createStateTables(engine, sourceOn(part), SOURCE);
  }
  await createStoreTables(other, SOURCE_ID, SOURCE);
  await createStateTables(other, SOURCE_ID, SOURCE);
  await engine.use('test', async (connection) => {
    for (const { table, columns, primaryKey } of TABLES) {
      const list = columns.map(({ name, type }) => `${name} ${engine.dialect.columnType(type)}`);
      const key = `PRIMARY KEY (moment, ${primaryKey.join(', ')})`;
      await connection.query(`CREATE TABLE base_${table} (moment BIGINT, ${list.join(', ')}, ${key})`);
    }
  });
  return { engine, other, grant: GRANT };
}

/** Empties them for the next case. */
export async function clear(place: Place, { table, contributionTable }: ReportLayout): Promise<void> {
  const { engine, other } = place;
  const parts = Array.from({ length: SHARDS_MAX }, (_none, part) => sourceOn(part));
  const names = [
    ...[table, contributionTable, LEDGER_TABLE],
    ...TABLES.map((captured) => `base_${captured.table}`),
    ...storeTables(parts),
  ];
  await other.use('test', async (connection) => {
    await connection.begin('write');
    for (const name of storeTables([SOURCE_ID])) await connection.query(`DELETE FROM ${name}`);
    await connection.commit();
  });
  await engine.use('test', async (connection) => {
    await connection.begin('write');
    for (const name of names) await connection.query(`DELETE FROM ${name}`);
    await connection.query(`UPDATE ${FOLD_TABLE} SET folded_window = 0, folded_seal = 0`);
    await connection.query(`UPDATE ${WATERMARK_TABLE} SET last_window = 0, holes = 0`);
    await connection.commit();
  });
}

function storeTables(sources: readonly number[]): string[] {
  const of = TABLES.flatMap(({ table, schemaVersion }) =>
    sources.flatMap((sourceId) => [
      changeTable({ sourceId, table, schemaVersion }),
      stateTable({ sourceId, table, schemaVersion }),
    ]),
  );
  return [MARK_TABLE, STATE_MARK_TABLE, ...of];
}

/** Puts the report database under a fresh epoch, as a cluster that knows these tasks of a report. */
export async function setEpoch(place: Place, epoch: bigint, tasks: readonly KnownTask[]): Promise<void> {
  const grant = { ...place.grant, epoch: asToken(epoch) };
  const generations = LAYOUTS.map(({ name, shards }) => ({
    ...{ layout: layoutFor(place.engine, name, shards), sourceId: SOURCE_ID, keptFrom: 1, prepared: true },
  }));
  await reconcile(place.engine, { ...grant, formerIds: [], generations }, tasks);
  place.grant = grant;
}
