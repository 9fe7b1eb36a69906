/**
 * Carries out a prepare grant: the tables of a source, of its reports and of their report database, the
 * dimension copies. Repeating it is harmless.
 */
import { asToken, TidemarkError } from '../../base/index.ts';
import { createStoreTables, installEmbeddedCapture } from '../../collector/index.ts';
import { dimensionTable, type CompiledSource } from '../../job/index.ts';
import { PrepareStep, type DimensionCopy, type Prepare } from '../../wire/index.ts';
import type { Catalog } from '../catalog.ts';
import type { Databases } from '../databases.ts';
import type { ReportLayout } from '../sink/layout.ts';
import { dropReport } from '../sink/drop-report.ts';
import { prepareHidden, prepareReport } from '../sink/report-view.ts';
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
  if (await changeReports(context, prepare, layouts)) return [];
  const sourceEngine = context.databases.engine(source.database);
  if (source.engine === 'embedded') await installEmbeddedCapture(sourceEngine, source.tables);
  return prepareStore(context, { sourceId, source, prepared: prepare.token, layouts });
}

/** Answers whether that was all: nothing is to be made in the store. */
async function changeReports(
  context: PrepareContext,
  prepare: Prepare,
  layouts: readonly ReportLayout[],
): Promise<boolean> {
  const { catalog, databases } = context;
  const engine = databases.group(catalog.sink(Number(prepare.sinkId)));
  const grant = {
    clusterId: prepare.clusterId,
    epoch: asToken(prepare.sinkEpoch),
    prepared: asToken(prepare.token),
    sourceId: Number(prepare.sourceId),
  };
  switch (prepare.step) {
    case PrepareStep.PREPARE_STEP_ALL:
      for (const layout of layouts) await prepareReport(engine, grant, layout);
      return false;
    case PrepareStep.PREPARE_STEP_HIDDEN:
      for (const layout of layouts) await prepareHidden(engine, grant, layout);
      return false;
    case PrepareStep.PREPARE_STEP_SHOW:
      for (const layout of layouts) await prepareReport(engine, grant, layout);
      return true;
    case PrepareStep.PREPARE_STEP_DROP:
    case PrepareStep.PREPARE_STEP_DROP_VIEW:
      for (const layout of layouts) {
        await dropReport(engine, grant, layout, prepare.step === PrepareStep.PREPARE_STEP_DROP_VIEW);
        if (prepare.prepared > 0n) await dropCopies(context, prepare, layout);
      }
      return true;
    default:
      throw new TidemarkError('BAD_REQUEST', `prepare of source ${prepare.sourceId}: unknown step`);
  }
}

/** Dimension copies that were made for one report alone. */
async function dropCopies(
  { catalog, databases }: PrepareContext,
  { sourceId, prepared }: Prepare,
  layout: ReportLayout,
): Promise<void> {
  const of = { sourceId: Number(sourceId), prepared };
  for (const shard of catalog.newestTopology().shards) {
    const store = databases.group(shard);
    await store.use('dimensions', async (connection) => {
      for (const { table } of dimensionsOf([layout])) {
        const name = store.dialect.id(dimensionTable({ ...of, table }));
        await connection.query(`DROP TABLE IF EXISTS ${name}`);
      }
    });
  }
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
