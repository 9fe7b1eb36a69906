/**
 * Which row versions the cells of touched keys come from, where that can be told before any row version is
 * at hand: what a task that gathers the rows of several store shards asks them for.
 */
import { mutated } from '../../base/index.ts';
import { parseColumnType, type SqlParam, type SqlValue } from '../../sql/index.ts';
import type { AffectedKeys, CapturedTable, CompiledReport } from '../model.ts';
import { readBlocks } from '../sql/sql-blocks.ts';
import type { ContributionInput } from '../stored-inputs.ts';
import { touchedKeysQuery } from './affected-keys-query.ts';
import { readsTable } from './touched-keys.ts';

/** More keys are looked up no faster than all rows are read. */
export const TOUCHED_KEYS_MAX = 1_000;

export interface Condition {
  readonly sql: string;
  readonly params: readonly SqlParam[];
}

export interface TouchedRows {
  /** Gives the touched keys as they are, one more than {@link TOUCHED_KEYS_MAX} at most. */
  readonly keys: Condition;
  /** What picks the rows of the keys; none if all rows of the table matter, or the keys do not tell. */
  readonly only: (table: CapturedTable, keys: readonly (readonly SqlValue[])[]) => Condition | undefined;
}

/** Undefined if change rows alone do not tell the touched keys, or no table is read by them. */
export function touchedRows(input: ContributionInput): TouchedRows | undefined {
  const { report, dialect } = input;
  const { affectedKeys } = report;
  if (affectedKeys === undefined || affectedKeys.narrowed.length === 0) return undefined;
  if (!tellAlone(report, affectedKeys, dialect.kind)) return undefined;
  return {
    keys: touchedKeysQuery(input, TOUCHED_KEYS_MAX + 1),
    only: (table, keys) => {
      const columns = columnsOf(report, affectedKeys, table);
      if (columns === undefined || !keys.every((key) => isOfTypes(report, key))) return undefined;
      if (keys.length > TOUCHED_KEYS_MAX && !mutated('job.touchedKeysCut')) return undefined;
      if (keys.length === 0) return { sql: '1 = 0', params: [] };
      // Rows of other combinations come along; the statement itself picks the keys' own.
      const marks = keys.map(() => '?').join(', ');
      const inputs = columns.map(
        (of) => `(${of.map((column) => `${dialect.id(column)} IN (${marks})`).join(' AND ')})`,
      );
      const params = columns.flatMap((of) => of.flatMap((_column, at) => keys.map((key) => key[at] ?? null)));
      return { sql: `(${inputs.join(' OR ')})`, params };
    },
  };
}

/** Whether each SELECT of touched keys reads its own changed rows, and nothing else that is captured. */
function tellAlone(
  { inputs }: CompiledReport,
  { touched }: AffectedKeys,
  kind: Parameters<typeof readBlocks>[1],
): boolean {
  if (mutated('job.statesTouchNothing')) return true;
  return touched.every(({ alias, sql }) => {
    const { query } = readBlocks(sql, kind, 'any');
    return inputs.every((one) => {
      return one.kind === 'dimension' || one.alias === alias || !readsTable(query, one.alias);
    });
  });
}

/** The columns that hold the keys, for each input that reads the table. */
function columnsOf(
  { inputs, keys }: CompiledReport,
  { narrowed }: AffectedKeys,
  { table, columns }: CapturedTable,
): (readonly string[])[] | undefined {
  const reading = inputs.filter((one) => one.kind !== 'dimension' && one.table === table);
  const all = reading.flatMap(({ alias }) => {
    const found = narrowed.find((one) => one.alias === alias);
    return found === undefined ? [] : [found.columns];
  });
  const isSame = (name: string, at: number): boolean => {
    const column = columns.find((one) => one.name.toLowerCase() === name.toLowerCase());
    const kind = column === undefined ? undefined : parseColumnType(column.type).kind;
    return kind === parseColumnType(keys[at]?.type ?? '').kind;
  };
  return all.length === reading.length && all.every((one) => one.every(isSame)) ? all : undefined;
}

/** Keys that are equal exactly where SQL says so, and come through a statement's text unchanged. */
function isOfTypes({ keys }: CompiledReport, key: readonly SqlValue[]): boolean {
  return keys.every(({ type }, at) => {
    const { kind } = parseColumnType(type);
    return (
      typeof key[at] === (kind === 'BIGINT' ? 'bigint' : 'string') && (kind === 'BIGINT' || kind === 'TEXT')
    );
  });
}
