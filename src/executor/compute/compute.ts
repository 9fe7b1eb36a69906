/**
 * Runs a report's SQL over one span's change rows on a store shard (design 6.7), in the snapshot in which
 * the rows were found complete, and brings the result into the column order of the report's layout.
 */
import { isTidemarkError, LIMITS, must, mutated, TidemarkError } from '../../base/index.ts';
import {
  affectedKeysQuery,
  contributionQueries,
  dimensionTable,
  FIRST_WINDOW_NEXT,
  readRows,
  readsStates,
  type CapturedTable,
  type CompiledSource,
  type ContributionInput,
  type ContributionQuery,
} from '../../job/index.ts';
import type { SqlConnection, SqlEngine, SqlValue } from '../../sql/index.ts';
import type { SealedWindow } from '../../wire/index.ts';
import { withMarker } from '../marker.ts';
import { hasTable } from '../prepare/dimension-copy.ts';
import { ROW_COUNT, type ReportLayout } from '../sink/layout.ts';
import type { Contribution } from '../sink/merge.ts';
import { placed } from '../placed.ts';
import { refuseChangedValues } from './changed-values.ts';
import { checkComplete, sealedShard } from './completeness.ts';
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
  /** The token that the report's dimension copies are named by. */
  readonly prepared: bigint;
  /** Makes the connection findable at the server (marker.ts). */
  readonly marker: string;
  readonly signal: AbortSignal;
}

type Rows = readonly (readonly SqlValue[])[];

export interface Computed {
  readonly contribution: Contribution;
  /** Change rows of the span on this shard. */
  readonly rowsIn: number;
  /** Rows of the contribution. */
  readonly rowsOut: number;
}

/**
 * Computes what a span adds to a report. Aborting the signal kills the query at the server.
 *
 * @throws TidemarkError `WINDOW_INCOMPLETE`, `STATE_BEHIND`, `DIMENSION_LOST`, `KEY_NULL`, `MEASURE_TYPE`,
 * `VALUE_RANGE`, `DIVISION_BY_ZERO`, `SQL_INVALID`, `SQL_WRITES`, `SQL_TOO_SLOW`, `CONTRIBUTION_TOO_LARGE`,
 * `CANCELLED`, and those of the engine. What the SQL itself is guilty of names the report and the windows.
 */
export async function computeContribution(input: ComputeInput): Promise<Computed> {
  const { store, windows, shard } = input;
  const contribution = await store
    .read(
      `compute ${input.layout.report.name}`,
      (connection) => withMarker(store, connection, input.marker, () => computeOn(connection, input)),
      input.signal,
    )
    .catch((error: unknown) => explain(input, error));
  const rowsIn = windows.reduce((sum, window) => sum + sealedShard(window, shard).rows, 0n);
  const rowsOut = contribution.multisets.reduce(
    (sum, rows) => sum + rows.length,
    contribution.additive.length,
  );
  return { contribution, rowsIn: Number(rowsIn), rowsOut };
}

/** A table that is missing may be a dimension copy: it is made again, and the report is not at fault. */
async function explain({ store, layout, sourceId, prepared }: ComputeInput, error: unknown): Promise<never> {
  if (!isTidemarkError(error, 'TABLE_MISSING') || mutated('executor.lostCopyIsDead')) throw error;
  for (const { kind, table } of layout.report.inputs) {
    const name = dimensionTable({ sourceId, prepared, table });
    if (kind !== 'dimension') continue;
    if (await store.use('dimensions', (connection) => hasTable(connection, store.dialect.id(name)))) continue;
    throw new TidemarkError('DIMENSION_LOST', `the copy of dimension ${table} is not there any more`);
  }
  throw error;
}

/** A snapshot that is left open by an error is dropped with its connection by the pool. */
async function computeOn(connection: SqlConnection, input: ComputeInput): Promise<Contribution> {
  const { dialect } = input.store;
  await connection.begin('snapshot');
  const { fromStates } = input;
  if (!fromStates) await checkComplete(connection, dialect, input);
  if (fromStates || readsStates(input.layout.report)) await checkStates(connection, input);
  const windows = input.windows.map(({ window, epoch, day }) => ({ window: Number(window), epoch, day }));
  const contributed: ContributionInput = {
    dialect,
    report: input.layout.report,
    sourceId: input.sourceId,
    tables: capturedTables(input),
    of: fromStates ? { asOf: must(windows.at(-1), 'a window').window } : { windows },
    prepared: input.prepared,
  };
  if (input.layout.isOfCells) {
    const query = affectedKeysQuery(contributed);
    const cells = await run(connection, query, input);
    await connection.rollback();
    return {
      additive: mutated('job.vanishedKeysStay') ? withoutTombstones(cells, query) : cells,
      multisets: [],
    };
  }
  const queries = contributionQueries(contributed);
  const keys = input.layout.keys.length;
  const additive = (await run(connection, queries.additive, input)).filter((row) => addsAnything(row, keys));
  const multisets: Rows[] = [];
  for (const query of queries.multisets) multisets.push(await run(connection, query, input));
  await connection.rollback();
  return { additive, multisets };
}

/** The deliberate mistake of leaving a key that vanished as it was. */
function withoutTombstones(cells: Rows, { columns }: ContributionQuery): Rows {
  const count = columns.findIndex(({ name }) => name === ROW_COUNT);
  return cells.filter((row) => row[count] !== 0n);
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

async function run(connection: SqlConnection, query: ContributionQuery, input: ComputeInput): Promise<Rows> {
  const where = `report ${input.layout.report.name}, ${windowsText(input.windows)}`;
  try {
    const result = await connection.query(query.sql, query.params);
    await refuseChangedValues(connection, input.store.dialect);
    if (result.rows.length <= LIMITS.contributionRowsMax) return readRows(query, result);
    const isFirst = input.windows.some(({ window }) => window === 1n);
    throw new TidemarkError(
      'CONTRIBUTION_TOO_LARGE',
      `${result.rows.length} rows, at most ${LIMITS.contributionRowsMax} can be merged`,
      { next: isFirst ? FIRST_WINDOW_NEXT : 'Make windows shorter, or choose keys with fewer values.' },
    );
  } catch (error) {
    throw isTidemarkError(error, ...OF_THE_SQL) ? placed(error, where) : error;
  }
}

/** Errors that the author of a report is to be told of, with the place. */
const OF_THE_SQL = [
  ...(['SQL_INVALID', 'SQL_WRITES', 'SQL_TOO_SLOW', 'TABLE_MISSING', 'KEY_NULL', 'MEASURE_TYPE'] as const),
  ...(['VALUE_RANGE', 'DIVISION_BY_ZERO', 'CONTRIBUTION_TOO_LARGE', 'KEY_TWICE'] as const),
];

/** False for combinations that cancel out entirely within the span. */
function addsAnything(row: readonly SqlValue[], keys: number): boolean {
  return row.slice(keys).some((value) => value !== 0n && !isZeroDecimal(value));
}

const isZeroDecimal = (value: SqlValue): boolean => typeof value === 'string' && /^-?0(\.0*)?$/.test(value);

function windowsText(windows: readonly SealedWindow[]): string {
  const [first] = windows;
  const last = windows.at(-1);
  if (first === undefined || last === undefined || first === last) return `window ${first?.window ?? 0n}`;
  return `windows ${first.window} to ${last.window}`;
}
