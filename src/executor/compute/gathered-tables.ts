/** The temporary tables of rows that are gathered from all store shards, and the SELECTs that fill them. */
import { must } from '../../base/index.ts';
import { exactSelect } from '../../collector/index.ts';
import { changeTable, inWindows, stateTable, type CapturedTable, type TouchedRows } from '../../job/index.ts';
import type { Dialect, SqlParam } from '../../sql/index.ts';
import type { SealedWindow } from '../../wire/index.ts';
import { rowKeys } from '../states/index.ts';

/** One temporary table, and the SELECT that fills it on each shard. */
export interface GatheredTable {
  readonly kind: 'changes' | 'states';
  readonly table: CapturedTable;
  readonly name: string;
  readonly create: string;
  readonly drop: string;
  readonly columns: readonly string[];
  /** The columns as they are read exactly. */
  readonly exact: readonly string[];
  /** From FROM on. */
  readonly from: string;
  readonly params: readonly SqlParam[];
}

/** What of a source is gathered. */
export interface GatheredSpan {
  readonly sourceId: number;
  readonly windows: readonly SealedWindow[];
  /** No change rows are needed, and no states before the span: all keys are touched. */
  readonly isFirst: boolean;
}

/** The tables for one captured table, the `at`-th of the report. */
export function gatheredTables(
  dialect: Dialect,
  span: GatheredSpan,
  table: CapturedTable,
  at: number,
): GatheredTable[] {
  const states = statesOf(dialect, span, table, at);
  return span.isFirst ? [states] : [states, changesOf(dialect, span, table, at)];
}

function statesOf(dialect: Dialect, span: GatheredSpan, table: CapturedTable, at: number): GatheredTable {
  const { sourceId, windows, isFirst } = span;
  const last = must(windows.at(-1), 'a window').window;
  const before = isFirst ? last : must(windows[0], 'a window').window - 1n;
  const own = new Set(table.columns.map(({ name }) => name));
  const keys = rowKeys(dialect, table).filter(({ column }) => !own.has(column));
  const more = [...keys.map(({ column }) => column), '_from', '_to'];
  const columns = [...own, ...more];
  const from = dialect.id(stateTable({ sourceId, table: table.table, schemaVersion: table.schemaVersion }));
  const name = `_tm_states_${at}`;
  // As for the reports' own statements: nearly every row version is open.
  const hint = dialect.kind === 'mysql' ? ` IGNORE INDEX (${dialect.id('_to')})` : '';
  return {
    kind: 'states',
    ...{ table, name, columns },
    // With the indexes that reports look rows up by; the embedded engine makes such for itself.
    ...created(
      dialect,
      name,
      dialect.kind === 'mysql' ? `LIKE ${from}` : emptyOf(quoted(dialect, columns), from),
    ),
    exact: [
      ...table.columns.map((column) => exactSelect(dialect, column)),
      ...more.map((one) => dialect.id(one)),
    ],
    from: `FROM ${from}${hint} WHERE _from <= ? AND _to > ?`,
    params: [last, before],
  };
}

function changesOf(dialect: Dialect, span: GatheredSpan, table: CapturedTable, at: number): GatheredTable {
  const { sourceId, windows } = span;
  const refs = windows.map(({ window, epoch, day }) => ({ window: Number(window), epoch, day }));
  const range = inWindows(sourceId, refs);
  const from = dialect.id(changeTable({ sourceId, table: table.table, schemaVersion: table.schemaVersion }));
  const name = `_tm_changes_${at}`;
  const columns = [...table.columns.map((column) => column.name), '_w'];
  return {
    kind: 'changes',
    ...{ table, name, columns },
    ...created(dialect, name, emptyOf(quoted(dialect, columns), from)),
    exact: [...table.columns.map((column) => exactSelect(dialect, column)), dialect.id('_w')],
    from: `FROM ${from} WHERE ${range.sql}`,
    params: range.params,
  };
}

const emptyOf = (names: string, from: string): string => `AS SELECT ${names} FROM ${from} LIMIT 0`;

/** Names of columns as a statement has them. */
export const quoted = (dialect: Dialect, columns: readonly string[]): string =>
  columns.map((column) => dialect.id(column)).join(', ');

function created(dialect: Dialect, name: string, like: string): Pick<GatheredTable, 'create' | 'drop'> {
  const drop = `DROP ${dialect.kind === 'mysql' ? 'TEMPORARY ' : ''}TABLE ${dialect.id(name)}`;
  return { create: `CREATE TEMPORARY TABLE ${dialect.id(name)} ${like}`, drop };
}

/** The same with some of the rows only. */
export function narrowed(table: GatheredTable, only: ReturnType<TouchedRows['only']>): GatheredTable {
  if (only === undefined) return table;
  return { ...table, from: `${table.from} AND ${only.sql}`, params: [...table.params, ...only.params] };
}
