/**
 * Runs a report's SQL over one span's change rows on a store shard (design 6.7), in the snapshot in which
 * the rows were found complete, and brings the result into the column order of the report's layout.
 */
import { isTidemarkError, LIMITS, must, mutated, TidemarkError } from '../../base/index.ts';
import {
  affectedKeysQuery,
  contributionQueries,
  dimensionTable,
  nullKeysQuery,
  readRows,
  readsStates,
  touchesNull,
  type CapturedTable,
  type CompiledSource,
  type ContributionInput,
  type ContributionQuery,
} from '../../job/index.ts';
import type { SqlConnection, SqlEngine, SqlValue } from '../../sql/index.ts';
import type { FormerChain, SealedWindow } from '../../wire/index.ts';
import { withMarker } from '../marker.ts';
import { hasTable } from '../prepare/dimension-copy.ts';
import type { ReportLayout } from '../sink/layout.ts';
import { rowsOf, type Contribution } from '../sink/merge.ts';
import { placed } from '../placed.ts';
import { refuseChangedValues } from './changed-values.ts';
import { checkComplete, sealedShard } from './completeness.ts';
import { mayCopy } from './copied-rows.ts';
import { OtherShardError, withGathered, type OtherShard } from './gathered-rows.ts';
import type { Gatherer } from './gatherer.ts';
import type { SpanCopies } from './span-copies.ts';
import { checkStates } from './state-mark.ts';

export interface ComputeInput {
  readonly store: SqlEngine;
  readonly shard: string;
  readonly layout: ReportLayout;
  readonly source: CompiledSource;
  /** A captured table under a schema version. */
  readonly captured: (table: string, version: number) => CapturedTable;
  readonly sourceId: number;
  /** The span's windows; of a first contribution only its last one. */
  readonly windows: readonly SealedWindow[];
  /** Compute the report's first contribution, from the row states as of the last window (design 6.6). */
  readonly fromStates: boolean;
  /** Milliseconds after which the task is given up, if it tells of no rows. */
  readonly timeMs: number;
  /** The token that the report's dimension copies are named by. */
  readonly prepared: bigint;
  /** What the cluster was restored from. */
  readonly formerChains: readonly FormerChain[];
  /** Makes the connection findable at the server (marker.ts). */
  readonly marker: string;
  /** Begins to gather the result; asked again when the work is tried on another server. */
  readonly gather: () => Gatherer;
  /** Shares the change rows with other reports of the span; without, each reads them for itself. */
  readonly copies?: SpanCopies;
  /** The other store shards, of a report that gathers the rows of all; who is told how many came so far. */
  readonly others?: readonly OtherShard[];
  readonly gathered?: (rows: number) => void;
  readonly signal: AbortSignal;
}

export interface Computed {
  readonly contribution: Contribution;
  /** Change rows of the span on this shard, or on all of which rows were gathered. */
  readonly rowsIn: number;
  /** Rows of the contribution. */
  readonly rowsOut: number;
}

/**
 * Computes what a span adds to a report. Aborting the signal kills the query at the server.
 *
 * @throws TidemarkError `WINDOW_INCOMPLETE`, `STATE_BEHIND`, `HISTORY_DROPPED`, `DIMENSION_LOST`, `KEY_NULL`,
 * `MEASURE_TYPE`, `VALUE_RANGE`, `DIVISION_BY_ZERO`, `SQL_INVALID`, `SQL_WRITES`, `SQL_TOO_SLOW`,
 * `CONTRIBUTION_TOO_LARGE`, `GATHER_TOO_LARGE`, `CANCELLED`, and those of the engine. What the SQL itself is
 * guilty of names the report and the windows.
 */
export async function computeContribution(input: ComputeInput): Promise<Computed> {
  const { store } = input;
  const contribution =
    (await fromCopies(input)) ??
    (await store
      .read(
        `compute ${input.layout.report.name}`,
        (connection) => withMarker(store, connection, input.marker, () => computeOn(connection, input)),
        input.signal,
      )
      .catch((error: unknown) => explain(input, error)));
  return { contribution, rowsIn: changeRows(input), rowsOut: rowsOf(contribution) };
}

/** A table that is missing may be a dimension copy: it is made again, and the report is not at fault. */
async function explain(input: ComputeInput, error: unknown): Promise<never> {
  const { store, layout, sourceId, prepared } = input;
  if (error instanceof OtherShardError) throw error.reason;
  if (!isTidemarkError(error, 'TABLE_MISSING') || mutated('executor.lostCopyIsDead')) throw error;
  for (const { kind, table } of layout.report.inputs) {
    const name = dimensionTable({ sourceId, prepared, table });
    if (kind !== 'dimension') continue;
    if (await store.use('dimensions', (connection) => hasTable(connection, store.dialect.id(name)))) continue;
    throw new TidemarkError('DIMENSION_LOST', `the copy of dimension ${table} is not there any more`);
  }
  throw error;
}

/**
 * Computes over copies of the change rows, where the report reads nothing else that changes; undefined if
 * that cannot be. What fails for other reasons than the report's own is done again in a snapshot, whose error
 * counts.
 */
async function fromCopies(input: ComputeInput): Promise<Contribution | undefined> {
  const { store, layout, copies, signal, marker } = input;
  if (copies === undefined || store.kind !== 'mysql') return undefined;
  if (input.fromStates || readsStates(layout.report)) return undefined;
  const rows = changeRows(input);
  const tables = capturedTables(input);
  const wanted = tables.map((table) => ({ table, columns: columnsRead(layout, table) }));
  if (!wanted.every((part) => mayCopy(part, rows))) return undefined;
  try {
    return await copies.use({ store, span: input, wanted, marker, signal }, async (connection, copied) => {
      const gatherer = input.gather();
      const queries = statementsOf({ ...contributed(input, tables), copied });
      for (const [pair, query] of queries.entries()) {
        const goesOn = await run(connection, query, input, { gatherer, pair, touched: { ofNull: false } });
        if (!goesOn) return { value: await gatherer.end(0), spent: true };
      }
      return { value: await gatherer.end(queries.length - 1), spent: false };
    });
  } catch (error) {
    if (!isTidemarkError(error) || mutated('compute.copyFailureIsFinal')) throw error;
    if (error.code !== 'TABLE_MISSING' && OF_THE_SQL.some((code) => code === error.code)) throw error;
    return undefined;
  }
}

/** The columns that a report reads of a captured table. */
function columnsRead({ report }: ReportLayout, { table, columns }: CapturedTable): string[] {
  const uses = report.inputs.flatMap((part) => {
    if (part.kind === 'dimension' || part.table !== table) return [];
    return part.uses ?? columns.map(({ name }) => name);
  });
  return [...new Set(uses)];
}

/** A snapshot that is left open by an error is dropped with its connection by the pool. */
async function computeOn(connection: SqlConnection, input: ComputeInput): Promise<Contribution> {
  const { fromStates, others } = input;
  const tables = capturedTables(input);
  if (others !== undefined) {
    const isFirst = fromStates || input.windows[0]?.window === 1n;
    const progress = (rows: number): void => input.gathered?.(rows);
    const { source, sourceId, store, shard, windows, formerChains, marker, signal } = input;
    const of = contributed(input, tables);
    const own = { source, sourceId, store, shard, windows, formerChains, marker, signal, fromStates, of };
    const bounds = { rowsMax: LIMITS.gatheredRowsMax, progress, where: whereOf(input.layout, windows) };
    return withGathered(connection, { ...own, ...bounds, others, isFirst }, (gathered) =>
      computeOver(connection, input, { ...of, ...gathered }),
    );
  }
  await connection.begin('snapshot');
  if (!fromStates) await checkComplete(connection, input.store.dialect, input);
  if (fromStates || readsStates(input.layout.report)) await checkStates(connection, input);
  return computeOver(connection, input, contributed(input, tables));
}

/** Runs the statements over rows that are complete, and ends the snapshot that they were read in. */
async function computeOver(
  connection: SqlConnection,
  input: ComputeInput,
  of: ContributionInput,
): Promise<Contribution> {
  const gatherer = input.gather();
  const { isOfCells } = input.layout;
  const queries = isOfCells ? [affectedKeysQuery(of)] : statementsOf(of);
  const touched = { ofNull: false };
  for (const [pair, query] of queries.entries()) {
    // A result that was not read to its end has cost the connection.
    if (!(await run(connection, query, input, { gatherer, pair, touched }))) return gatherer.end(0);
  }
  if (touched.ofNull && !mutated('job.nullKeysLeftOut')) {
    // Each row that it has is refused.
    await run(connection, nullKeysQuery(of), input, { gatherer, pair: 0, touched });
  }
  await connection.rollback();
  return gatherer.end(queries.length - 1);
}

function contributed(input: ComputeInput, tables: readonly CapturedTable[]): ContributionInput {
  const windows = input.windows.map(({ window, epoch, day }) => ({ window: Number(window), epoch, day }));
  return {
    dialect: input.store.dialect,
    report: input.layout.report,
    sourceId: input.sourceId,
    tables,
    of: input.fromStates ? { asOf: must(windows.at(-1), 'a window').window } : { windows },
    prepared: input.prepared,
  };
}

function statementsOf(input: ContributionInput): ContributionQuery[] {
  const { additive, multisets } = contributionQueries(input);
  return [additive, ...multisets];
}

/** The captured tables of the report's inputs, under the schema versions that were sealed. */
function capturedTables({ layout, captured, windows }: ComputeInput): CapturedTable[] {
  const names = layout.report.inputs.flatMap((part) => (part.kind === 'dimension' ? [] : [part.table]));
  return [...new Set(names)].map((name) => {
    const sealed = windows[0]?.schemaVersions.find((version) => version.table === name);
    if (sealed !== undefined) return captured(name, sealed.version);
    throw new TidemarkError('BAD_REQUEST', `the window was sealed without a schema of ${name}`);
  });
}

/**
 * The server counts the time that staging takes as the SELECT's own. What bounds such a task is its deadline,
 * which grows with its progress; this is a last resort.
 */
const LARGE_SELECT_MS = 3_600_000;
/** Of a task's time: the rest is for what comes before and after. So it is told what was too slow. */
const SELECT_SHARE = 0.8;
/** A connection gives a server up that was silent for longer. */
const SELECT_MAX_MS = 100_000;

/** Milliseconds after which the server ends a SELECT with `SQL_TOO_SLOW`. */
function selectMs(input: ComputeInput): number {
  if (mayBeLarge(input) || mutated('compute.selectOutlastsTask')) return LARGE_SELECT_MS;
  return Math.min(Math.ceil(input.timeMs * SELECT_SHARE), SELECT_MAX_MS);
}

function mayBeLarge(input: ComputeInput): boolean {
  return input.fromStates || changeRows(input) > LIMITS.contributionRowsHeldMax;
}

/** Change rows of the span on the shards that the task reads. */
function changeRows({ windows, shard, others = [] }: ComputeInput): number {
  const shards = [shard, ...others.map((other) => other.shard)];
  const rows = windows.flatMap((window) => shards.map((name) => Number(sealedShard(window, name).rows)));
  return rows.reduce((sum, count) => sum + count, 0);
}

interface Taker {
  readonly gatherer: Gatherer;
  readonly pair: number;
  /** Is told whether a touched key has NULL in it. */
  readonly touched: { ofNull: boolean };
}

/** Hands the rows of one statement on. False if the gatherer wants no more. */
async function run(
  connection: SqlConnection,
  query: ContributionQuery,
  input: ComputeInput,
  { gatherer, pair, touched }: Taker,
): Promise<boolean> {
  const where = whereOf(input.layout, input.windows);
  const says = saysAnything(input.layout);
  // Of cells it is to be seen whether a key comes twice, and each touched key comes as a tombstone too. One
  // piece more would be of more keys than there may be.
  const { isOfCells } = input.layout;
  const pieceRows = isOfCells ? 2 * (LIMITS.cellRowsMax + 1) : LIMITS.contributionPieceRows;
  const options = { pieceRows, selectMs: selectMs(input) };
  const gathered = { wanted: true };
  try {
    await connection.stream(query.sql, query.params, options, async (piece) => {
      touched.ofNull ||= touchesNull(query, piece);
      const rows = readRows(query, piece);
      gathered.wanted = await gatherer.take(pair, pair === 0 ? rows.filter(says) : rows);
      return gathered.wanted;
    });
    if (gathered.wanted) await refuseChangedValues(connection, input.store.dialect);
    return gathered.wanted;
  } catch (error) {
    throw isTidemarkError(error, ...OF_THE_SQL) ? placed(error, where) : error;
  }
}

/** Errors that the author of a report is to be told of, with the place. */
const OF_THE_SQL = [
  ...(['SQL_INVALID', 'SQL_WRITES', 'SQL_TOO_SLOW', 'TABLE_MISSING', 'KEY_NULL', 'MEASURE_TYPE'] as const),
  ...(['VALUE_RANGE', 'DIVISION_BY_ZERO', 'CONTRIBUTION_TOO_LARGE', 'KEY_TWICE'] as const),
];

/** False for combinations that cancel out entirely within the span. Cells say what they are, also nothing. */
function saysAnything({ isOfCells, keys }: ReportLayout): (row: readonly SqlValue[]) => boolean {
  if (isOfCells) return () => true;
  return (row) => row.slice(keys.length).some((value) => value !== 0n && !isZeroDecimal(value));
}

const isZeroDecimal = (value: SqlValue): boolean => typeof value === 'string' && /^-?0(\.0*)?$/.test(value);

const whereOf = ({ report }: ReportLayout, windows: readonly SealedWindow[]): string =>
  `report ${report.name}, ${windowsText(windows)}`;

function windowsText(windows: readonly SealedWindow[]): string {
  const [first] = windows;
  const last = windows.at(-1);
  if (first === undefined || last === undefined || first === last) return `window ${first?.window ?? 0n}`;
  return `windows ${first.window} to ${last.window}`;
}
