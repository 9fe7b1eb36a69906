/**
 * Carries out a prepare grant: the tables of a source, of its reports and of their report database, the
 * dimension copies. Repeating it is harmless.
 */
import { asToken, TidemarkError } from '../../base/index.ts';
import { createStoreTables, installEmbeddedCapture } from '../../collector/index.ts';
import type { CompiledSource } from '../../job/index.ts';
import { PrepareStep, type Prepare, type ReportCopies } from '../../wire/index.ts';
import type { SqlEngine } from '../../sql/index.ts';
import type { WorkDatabases } from '../cancellable.ts';
import type { Catalog } from '../catalog.ts';
import type { ReportLayout } from '../sink/layout.ts';
import { dropReport } from '../sink/drop-report.ts';
import { prepareHidden, prepareReport } from '../sink/report-view.ts';
import { createJoinIndexes, createStateTables } from '../states/index.ts';
import { dropUnread, prepareCopies } from './report-copies.ts';

export interface PrepareContext {
  readonly catalog: Catalog;
  readonly databases: WorkDatabases;
}

/**
 * Prepares everything that collectors and tasks of one source need, and returns what its reports read
 * copies of.
 *
 * @throws TidemarkError `SINK_OF_OTHER_CLUSTER`, `SINK_EPOCH`, `STALE_VERSION`, `SECRET_MISSING`, and those
 * of the engines.
 */
export async function carryOutPrepare(context: PrepareContext, prepare: Prepare): Promise<ReportCopies[]> {
  const sourceId = Number(prepare.sourceId);
  const layouts = prepare.reports.map((id) => context.catalog.report(id));
  // The report database first: one that belongs to another cluster must stop everything else.
  if (await changeReports(context, prepare, layouts)) return [];
  if (prepare.step === PrepareStep.PREPARE_STEP_TABLES) {
    const addition = context.catalog.addition(sourceId);
    for (const store of storesOf(context)) await makeTables(store, sourceId, addition);
    return [];
  }
  const source = context.catalog.source(sourceId);
  const sourceEngine = context.databases.engine(source.database);
  if (source.engine === 'embedded') await installEmbeddedCapture(sourceEngine, source.tables);
  return prepareStore(context, { prepare, source, layouts });
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
      }
      for (const shard of catalog.newestTopology().shards) await dropUnread(databases.group(shard), prepare);
      return true;
    case PrepareStep.PREPARE_STEP_TABLES:
      return false;
    default:
      throw new TidemarkError('BAD_REQUEST', `prepare of source ${prepare.sourceId}: unknown step`);
  }
}

interface StoreWork {
  readonly prepare: Prepare;
  readonly source: CompiledSource;
  readonly layouts: readonly ReportLayout[];
}

const storesOf = ({ catalog, databases }: PrepareContext): SqlEngine[] =>
  catalog.newestTopology().shards.map((shard) => databases.group(shard));

async function makeTables(store: SqlEngine, sourceId: number, source: CompiledSource): Promise<void> {
  await createStoreTables(store, sourceId, source);
  await createStateTables(store, sourceId, source);
}

async function prepareStore(
  context: PrepareContext,
  { prepare, source, layouts }: StoreWork,
): Promise<ReportCopies[]> {
  const sourceId = Number(prepare.sourceId);
  const stores = storesOf(context);
  for (const store of stores) {
    await makeTables(store, sourceId, source);
    const reports = layouts.map(({ report }) => report);
    await createJoinIndexes(store, { sourceId, tables: source.tables }, reports);
  }
  const places = { source: context.databases.engine(source.database), stores };
  const copies = await prepareCopies(places, prepare, layouts);
  for (const store of stores) await dropUnread(store, prepare);
  return copies;
}
