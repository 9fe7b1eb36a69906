/**
 * Which rows of the store the inputs of a report stand for (design 6.2). A report over one changing input
 * reads the change rows of the span. Over n changing inputs its text is run n times, and the results are
 * added up:
 *
 *     sum over i of  change(i) x state after the span of the inputs before i x state before it of those
 * after i
 *
 * That is what the span has changed in the join of all of them, exactly: with two inputs,
 * (a + da)(b + db) - ab = da b + (a + da) db.
 */
import { assert, must, mutated, TidemarkError } from '../base/index.ts';
import type { Dialect, SqlParam } from '../sql/index.ts';
import type { CapturedTable, CompiledReport, ReportInput } from './model.ts';
import { changeTable, dimensionTable, STATE_OPEN, stateTable } from './table-names.ts';

/** A sealed window, by what its change rows are found with. */
export interface WindowRef {
  readonly window: number;
  readonly epoch: bigint;
  /** `YYYY-MM-DD`, fixed when the window was opened. */
  readonly day: string;
}

export interface ContributionInput {
  readonly dialect: Dialect;
  readonly report: CompiledReport;
  readonly sourceId: number;
  /**
   * The captured tables of the report's inputs, under the schema versions that the windows were sealed
   * with.
   */
  readonly tables: readonly CapturedTable[];
  /** What the contribution is of: the windows of a span in their order, or the row states as of a window. */
  readonly of: { readonly windows: readonly WindowRef[] } | { readonly asOf: number };
  /** The token of the prepare grant that made the dimension copies. */
  readonly prepared: bigint;
  /** Tables that hold exactly the span's change rows, by captured table; those that are not here are read. */
  readonly copied?: ReadonlyMap<string, string>;
  /** Tables that hold row versions of all store shards, by captured table, in place of the shard's own. */
  readonly copiedStates?: ReadonlyMap<string, string>;
}

/** What an input reads: a table and the condition that picks its rows. */
export interface InputText {
  readonly alias: string;
  readonly sql: string;
  readonly params: readonly SqlParam[];
}

/** The inputs of one run of a report's text. */
export type Term = readonly InputText[];

/** The terms of a contribution, over the tables of a store shard. */
export function storedTerms(input: ContributionInput): Term[] {
  const { report, of } = input;
  if ('asOf' in of) return [report.inputs.map((part) => asOf(input, part, of.asOf))];
  const first = must(of.windows[0], 'a window').window;
  const last = must(of.windows.at(-1), 'a window').window;
  const [before, after] = mutated('job.statesSwapped') ? [last, first - 1] : [first - 1, last];
  return report.inputs.flatMap((changing, at): Term[] => {
    if (changing.kind !== 'changes') return [];
    const term = report.inputs.map((part, other) => {
      if (other === at) return changesOf(input, part, of.windows);
      return asOf(input, part, part.kind === 'changes' && other > at ? before : after);
    });
    return [term];
  });
}

/** The inputs of an `affectedKeys` report as they were after a window, some of them narrowed. */
export function stateTerm(
  input: ContributionInput,
  window: number,
  narrow: (alias: string) => string = () => '',
): Term {
  return input.report.inputs.map((part) => {
    const { alias, sql, params } = asOf(input, part, window, 'no weight');
    return { alias, sql: `${sql}${narrow(alias)}`, params };
  });
}

/**
 * The inputs of the SELECT of the keys that changed rows of one input touch: the term of the same sum that
 * holds its changed rows, with both images of an update.
 */
export function touchedTerm(input: ContributionInput, alias: string): Term {
  const { report, of } = input;
  assert('windows' in of, 'changed rows are those of windows');
  const first = must(of.windows[0], 'a window').window;
  const last = must(of.windows.at(-1), 'a window').window;
  const at = report.inputs.findIndex((part) => part.alias === alias);
  return report.inputs.map((part, other) => {
    if (other === at) return changesOf(input, part, of.windows, 'no weight');
    return asOf(input, part, other > at ? first - 1 : last, 'no weight');
  });
}

/** Whether an input shows `_w`: a report of class `affectedKeys` has none. */
type Weight = 'weight' | 'no weight';

function changesOf(
  input: ContributionInput,
  part: ReportInput,
  windows: readonly WindowRef[],
  weight: Weight = 'weight',
): InputText {
  const { dialect, sourceId } = input;
  const captured = tableOf(input, part);
  const { table, schemaVersion } = captured;
  const names = columnsOf(dialect, captured, part, weight === 'weight' ? [dialect.id('_w')] : []);
  const copy = input.copied?.get(table);
  if (copy !== undefined) {
    return { alias: part.alias, sql: `SELECT ${names} FROM ${dialect.id(copy)}`, params: [] };
  }
  const from = dialect.id(changeTable({ sourceId, table, schemaVersion }));
  const range = inWindows(sourceId, windows);
  const only = weight === 'no weight' && mutated('job.touchedByAfterImages') ? ' AND _w > 0' : '';
  const sql = `SELECT ${names} FROM ${from} WHERE ${range.sql}${only}`;
  return { alias: part.alias, sql, params: range.params };
}

/** An input as it was after a window: a dimension always, a captured table by its row states. */
function asOf(
  input: ContributionInput,
  part: ReportInput,
  window: number,
  weight: Weight = 'weight',
): InputText {
  const { dialect, sourceId, prepared } = input;
  if (part.kind === 'dimension') {
    const columns = part.columns.map((column) => dialect.id(column.name)).join(', ');
    const table = dialect.id(dimensionTable({ sourceId, table: part.table, prepared }));
    return { alias: part.alias, sql: `SELECT ${columns} FROM ${table}`, params: [] };
  }
  const captured = tableOf(input, part);
  const { table, schemaVersion } = captured;
  const names = columnsOf(dialect, captured, part, weight === 'weight' ? [unitWeight(dialect)] : []);
  const gathered = input.copiedStates?.get(table);
  const from = dialect.id(gathered ?? stateTable({ sourceId, table, schemaVersion }));
  const current = mutated('job.joinsCurrentState');
  const params = current ? [STATE_OPEN - 1, STATE_OPEN - 1] : [window, window];
  // Nearly every row version is open: by that index MariaDB reads, or filters by, all of them.
  const hint = dialect.kind === 'mysql' ? ` IGNORE INDEX (${dialect.id('_to')})` : '';
  return {
    alias: part.alias,
    sql: `SELECT ${names} FROM ${from}${hint} WHERE _from <= ? AND _to > ?`,
    params,
  };
}

/**
 * The weight of a row that is there. That of a change row is a BIGINT; a bare 1 would be a shorter integer.
 */
export function unitWeight(dialect: Dialect): string {
  return dialect.kind === 'mysql' ? 'CAST(1 AS SIGNED) AS _w' : '1 AS _w';
}

function columnsOf(
  dialect: Dialect,
  { columns }: CapturedTable,
  part: ReportInput,
  weight: readonly string[],
): string {
  const uses = part.kind === 'dimension' ? undefined : part.uses;
  const shown = columns.filter(({ name }) => uses?.includes(name) ?? true);
  const names = [...shown.map((column) => dialect.id(column.name)), ...weight];
  // `SELECT COUNT(*)` reads no column of its input.
  return names.length === 0 ? '1 AS _row' : names.join(', ');
}

function tableOf({ tables, report }: ContributionInput, part: ReportInput): CapturedTable {
  const found = tables.find((table) => table.table === part.table);
  if (found !== undefined) return found;
  throw new TidemarkError('TABLE_MISSING', `report ${report.name}: table ${part.table} is not captured`);
}

/** The condition that picks the change rows of sealed windows, by the primary key of their table. */
export function inWindows(
  sourceId: number,
  windows: readonly WindowRef[],
): { readonly sql: string; readonly params: readonly SqlParam[] } {
  const runs = runsOf(windows);
  const epoch = mutated('job.rowsOfAnyEpoch') ? '_epoch > 0 * ?' : '_epoch = ?';
  const conditions = runs.map(() => `(${epoch} AND _day = ? AND _window BETWEEN ? AND ?)`).join(' OR ');
  const params = runs.flatMap(({ epoch, day, first, last }): SqlParam[] => [epoch, day, first, last]);
  return { sql: `_source = ? AND (${conditions})`, params: [sourceId, ...params] };
}

interface WindowRun {
  readonly epoch: bigint;
  readonly day: string;
  readonly first: number;
  last: number;
}

/** Adjacent windows of one epoch and day are one range of the change table's primary key. */
function runsOf(windows: readonly WindowRef[]): WindowRun[] {
  const runs: WindowRun[] = [];
  for (const { window, epoch, day } of windows) {
    const last = runs.at(-1);
    if (last?.epoch === epoch && last.day === day && last.last + 1 === window) last.last = window;
    else runs.push({ epoch, day, first: window, last: window });
  }
  return runs;
}
