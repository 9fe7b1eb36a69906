/**
 * Carries out a prepare grant: the tables of a source, of its reports and of their report database, the
 * dimension copies. Repeating it is harmless.
 */
import { asToken } from '../../base/index.ts';
import { createStoreTables, installEmbeddedCapture } from '../../collector/index.ts';
import type { CompiledSource } from '../../job/index.ts';
import type { DimensionCopy, Prepare } from '../../wire/index.ts';
import type { Catalog } from '../catalog.ts';
import type { Databases } from '../databases.ts';
import type { ReportLayout } from '../sink/layout.ts';
import { prepareReport } from '../sink/report-view.ts';
import { createJoinIndexes, createStateTables } from '../states/index.ts';
import { readDimensions, writeDimension, type DimensionSpec } from './dimension-copy.ts';

export interface PrepareContext {
  readonly catalog: Catalog;
  readonly databases: Databases;
}

/**
 * Prepares everything that collectors and tasks of one source need, and returns what was copied.
 *
 * @throws TidemarkError `SINK_OF_OTHER_CLUSTER`, `SINK_EPOCH`, `STALE_VERSION`, `SECRET_MISSING`, and those
 * of the engines.
 */
export async function carryOutPrepare(context: PrepareContext, prepare: Prepare): Promise<DimensionCopy[]> {
  const sourceId = Number(prepare.sourceId);
  const source = context.catalog.source(sourceId);
  const layouts = prepare.reports.map((id) => context.catalog.report(id));
  // The report database first: one that belongs to another cluster must stop everything else.
  await prepareReports(context, prepare, layouts);
  const sourceEngine = context.databases.engine(source.database);
  if (source.engine === 'embedded') await installEmbeddedCapture(sourceEngine, source.tables);
  return prepareStore(context, { sourceId, source, prepared: prepare.token, layouts });
}

async function prepareReports(
  { catalog, databases }: PrepareContext,
  prepare: Prepare,
  layouts: readonly ReportLayout[],
): Promise<void> {
  const engine = databases.group(catalog.sink(Number(prepare.sinkId)));
  const sink = { clusterId: prepare.clusterId, epoch: asToken(prepare.sinkEpoch) };
  const grant = { ...sink, prepared: asToken(prepare.token), sourceId: Number(prepare.sourceId) };
  for (const layout of layouts) await prepareReport(engine, grant, layout);
}

interface StoreWork {
  readonly sourceId: number;
  readonly source: CompiledSource;
  readonly prepared: bigint;
  readonly layouts: readonly ReportLayout[];
}

async function prepareStore(
  { catalog, databases }: PrepareContext,
  work: StoreWork,
): Promise<DimensionCopy[]> {
  const dimensions = await readDimensions(databases.engine(work.source.database), dimensionsOf(work.layouts));
  for (const shard of catalog.newestTopology().shards) {
    const store = databases.group(shard);
    await createStoreTables(store, work.sourceId, work.source);
    await createStateTables(store, work.sourceId, work.source);
    const { sourceId, source, layouts } = work;
    const reports = layouts.map(({ report }) => report);
    await createJoinIndexes(store, { sourceId, tables: source.tables }, reports);
    for (const dimension of dimensions) {
      await writeDimension(store, { sourceId: work.sourceId, prepared: work.prepared }, dimension);
    }
  }
  return dimensions.map(({ table, rows, checksum }) => ({ table, rows: BigInt(rows.length), checksum }));
}

/** Each dimension table once, whichever reports join it. */
function dimensionsOf(layouts: readonly ReportLayout[]): DimensionSpec[] {
  const byTable = new Map<string, DimensionSpec>();
  for (const { report } of layouts) {
    for (const input of report.inputs) {
      if (input.kind === 'dimension') {
        byTable.set(input.table, { table: input.table, columns: input.columns });
      }
    }
  }
  return [...byTable.values()];
}
