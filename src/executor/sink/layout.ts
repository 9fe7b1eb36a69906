/**
 * How a report generation lies in its database: which tables, which columns, in which order.
 *
 * Columns are positional (`key_0`, `sum_2`), so that no declared name can collide with a hidden column or
 * outgrow an identifier; the reader's view gives them their names back.
 */
import {
  contributionTable,
  hasMultiset,
  isMultisetMeasure,
  multisetTable,
  reportTable,
  type CompiledReport,
} from '../../job/index.ts';

/** A report generation as the log knows it. */
export interface Generation {
  readonly reportId: number;
  readonly generation: number;
}

export interface KeyColumn {
  readonly column: string;
  readonly name: string;
  readonly type: string;
}

export interface AdditiveColumn {
  readonly column: string;
  readonly type: string;
  /** What is summed: values of the type, or their squares. A cell is kept as it is. */
  readonly of: 'values' | 'squares' | 'cell';
}

/** A measure kept as (key, value, net weight): min, max and distinct (design 6.8). */
export interface MultisetLayout {
  readonly measure: number;
  readonly table: string;
  readonly type: string;
}

export interface ReportLayout extends Generation {
  readonly report: CompiledReport;
  /** Of class `affectedKeys`: rows are cells as of a window (cells.ts), and nothing is added up. */
  readonly isOfCells: boolean;
  readonly table: string;
  /** What spans contributed: packed (packs.ts), or rows of cells. */
  readonly contributionTable: string;
  readonly keys: readonly KeyColumn[];
  /**
   * Summed columns with their declared types: the hidden row count first, then those of each additive
   * measure. Of cells: 1, or 0 for a tombstone; the cells; the window that they are the state of.
   */
  readonly additive: readonly AdditiveColumn[];
  readonly multisets: readonly MultisetLayout[];
}

/** The hidden row count: the sum of all weights. A row is empty when it is 0 (design 6.1). */
export const ROW_COUNT = 'row_count';
export const sumColumn = (measure: number): string => `sum_${measure}`;
/** The sum of squares that a variance needs. */
export const squaresColumn = (measure: number): string => `squares_${measure}`;
export const nonNullColumn = (measure: number): string => `nonnull_${measure}`;
/** A cell of a report of class `affectedKeys`. */
export const valueColumn = (measure: number): string => `value_${measure}`;
/** The window that the cells of a row are the state of (design 6.9). */
export const STATE_WINDOW = 'state_window';

/** Columns that say which span and part a contribution belongs to, and under which token it was merged. */
export const CONTRIBUTION_KEY = ['source_id', 'first_window', 'part', 'token'] as const;

export function layoutOf(generation: Generation, report: CompiledReport): ReportLayout {
  const isOfCells = report.affectedKeys !== undefined;
  const additive: AdditiveColumn[] = [{ column: ROW_COUNT, type: 'BIGINT', of: 'values' }];
  const multisets: MultisetLayout[] = [];
  for (const [index, measure] of report.measures.entries()) {
    if (isOfCells) {
      additive.push({ column: valueColumn(index), type: measure.type, of: 'cell' });
      continue;
    }
    if (isMultisetMeasure(measure)) {
      if (!hasMultiset(measure)) continue;
      const at = { ...generation, measure: index };
      multisets.push({
        measure: index,
        table: multisetTable(at),
        type: measure.type,
      });
      continue;
    }
    // A count needs no sum: it is the number of rows whose expression is not NULL.
    const { kind, type } = measure;
    if (kind !== 'count') additive.push({ column: sumColumn(index), type, of: 'values' });
    if (kind === 'variance') additive.push({ column: squaresColumn(index), type, of: 'squares' });
    additive.push({ column: nonNullColumn(index), type: 'BIGINT', of: 'values' });
  }
  if (isOfCells) additive.push({ column: STATE_WINDOW, type: 'BIGINT', of: 'values' });
  return {
    ...generation,
    report,
    isOfCells,
    table: reportTable(generation),
    contributionTable: contributionTable(generation),
    keys: report.keys.map((key, index) => ({ column: `key_${index}`, name: key.name, type: key.type })),
    additive,
    multisets,
  };
}

/** All tables of a generation: that of contributions, then those that people read. */
export function tablesOf(layout: ReportLayout): string[] {
  return [layout.contributionTable, layout.table, ...layout.multisets.map(({ table }) => table)];
}
