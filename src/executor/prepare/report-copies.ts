/**
 * The dimension copies of reports on all store shards (design 6.2): what is read goes on being the same rows,
 * what is new is copied from the source, and what nobody reads any more is dropped.
 */
import { isTidemarkError, mutated } from '../../base/index.ts';
import { dimensionTable } from '../../job/index.ts';
import type { SqlEngine } from '../../sql/index.ts';
import type { DimensionCopy, Prepare, ReportCopies } from '../../wire/index.ts';
import type { ReportLayout } from '../sink/layout.ts';
import {
  copiesTables,
  hasTable,
  readDimensions,
  writeDimension,
  type CopyName,
  type DimensionData,
  type DimensionSpec,
} from './dimension-copy.ts';

interface Places {
  readonly source: SqlEngine;
  readonly stores: readonly SqlEngine[];
}

/**
 * Sees to the copies of the reports of a prepare grant, and tells of each report what its copies are.
 * @throws TidemarkError those of {@link readDimensions} and {@link writeDimension}.
 */
export async function prepareCopies(
  places: Places,
  prepare: Pick<Prepare, 'token' | 'sourceId' | 'reports' | 'copies' | 'pending'>,
  layouts: readonly ReportLayout[],
): Promise<ReportCopies[]> {
  const dimensions = new Map(prepare.reports.map((id, at) => [id, dimensionsOf(layouts[at])]));
  const known = new Map(prepare.copies.map((copies) => [copies.report, copies]));
  const young = prepare.reports.filter((id) => !known.has(id));
  const made = await makeCopies(
    places,
    prepare,
    young.flatMap((id) => dimensions.get(id) ?? []),
  );
  const kept = new Map<string, boolean>();
  const told: ReportCopies[] = [];
  for (const report of prepare.reports) {
    const specs = dimensions.get(report) ?? [];
    const of = known.get(report);
    if (of === undefined) {
      const mine = made.filter(({ table }) => specs.some((spec) => spec.table === table));
      told.push({ report, prepared: prepare.token, dimensions: mine, lost: false });
      continue;
    }
    let lost = false;
    for (const spec of specs) {
      const copy = { sourceId: Number(prepare.sourceId), prepared: of.prepared, table: spec.table };
      const name = dimensionTable(copy);
      const first = of.dimensions.find(({ table }) => table === spec.table);
      if (!kept.has(name))
        kept.set(name, await keepCopy(places, { copy, grant: prepare.token, spec, first }));
      lost ||= kept.get(name) === false;
    }
    told.push({ ...of, lost });
  }
  return told;
}

/** All new copies of a grant are of one moment of the source. */
async function makeCopies(
  { source, stores }: Places,
  { sourceId, token }: Pick<Prepare, 'sourceId' | 'token'>,
  specs: readonly DimensionSpec[],
): Promise<DimensionCopy[]> {
  const byTable = new Map(specs.map((spec) => [spec.table, spec]));
  const read = await readDimensions(source, [...byTable.values()]);
  for (const store of stores) {
    for (const data of read) {
      const copy = { sourceId: Number(sourceId), prepared: token, table: data.table };
      await writeDimension(store, { copy, grant: token }, data);
    }
  }
  return read.map(({ table, rows, checksum }) => ({ table, rows: BigInt(rows.length), checksum }));
}

interface Kept {
  readonly copy: CopyName;
  /** The token of the prepare grant that looks after it. */
  readonly grant: bigint;
  readonly spec: DimensionSpec;
  /** What it was when it was made. */
  readonly first: DimensionCopy | undefined;
}

/**
 * Makes a copy again where a shard lacks it, with the same rows: another shard's, or the source's if they are
 * what they were. Answers false if they are nowhere any more.
 */
async function keepCopy(places: Places, kept: Kept): Promise<boolean> {
  const lacking: SqlEngine[] = [];
  let held: DimensionData | undefined;
  for (const store of places.stores) {
    const found = await readCopy(store, kept);
    if (found === undefined) lacking.push(store);
    else held ??= found;
  }
  if (lacking.length === 0) return true;
  const data = held ?? (await readSource(places.source, kept));
  if (data === undefined) return false;
  for (const store of lacking) await writeDimension(store, kept, data);
  return true;
}

/** A table of that name with other rows is not the copy: it is dropped. */
async function readCopy(store: SqlEngine, { copy, spec, first }: Kept): Promise<DimensionData | undefined> {
  const name = dimensionTable(copy);
  if (!(await store.use('dimensions', (connection) => hasTable(connection, store.dialect.id(name))))) {
    return undefined;
  }
  const [data] = await readDimensions(store, [{ ...spec, table: name }]);
  if (data !== undefined && isSame(data, first)) return { ...data, table: spec.table };
  await store.use('dimensions', (connection) =>
    connection.query(`DROP TABLE IF EXISTS ${store.dialect.id(name)}`),
  );
  return undefined;
}

async function readSource(source: SqlEngine, { spec, first }: Kept): Promise<DimensionData | undefined> {
  try {
    const [data] = await readDimensions(source, [spec]);
    if (data === undefined) return undefined;
    return isSame(data, first) || mutated('executor.copyRefreshed') ? data : undefined;
  } catch (error) {
    // Without the table the report cannot go on either, but by itself.
    if (isTidemarkError(error, 'TABLE_MISSING')) return undefined;
    throw error;
  }
}

const isSame = (data: DimensionData, first: DimensionCopy | undefined): boolean =>
  first?.checksum === data.checksum && first.rows === BigInt(data.rows.length);

/**
 * Drops copies of a source that no report reads. Those under a token as new as the grant's are left: another
 * grant may have made them meanwhile.
 */
export async function dropUnread(
  store: SqlEngine,
  { token, sourceId, copies, pending }: Pick<Prepare, 'token' | 'sourceId' | 'copies' | 'pending'>,
): Promise<void> {
  if (mutated('executor.unreadCopiesKept')) return;
  const of = Number(sourceId);
  const read = new Set(
    copies.flatMap(({ prepared, dimensions }) =>
      dimensions.map(({ table }) => dimensionTable({ sourceId: of, prepared, table })),
    ),
  );
  await store.use('dimensions', async (connection) => {
    for (const { name, made } of await copiesTables(connection, store.dialect, of)) {
      if (made >= token || pending.includes(made) || read.has(name)) continue;
      await connection.query(`DROP TABLE IF EXISTS ${store.dialect.id(name)}`);
    }
  });
}

function dimensionsOf(layout: ReportLayout | undefined): DimensionSpec[] {
  const inputs = layout?.report.inputs ?? [];
  return inputs.flatMap((input) =>
    input.kind === 'dimension' ? [{ table: input.table, columns: input.columns }] : [],
  );
}
