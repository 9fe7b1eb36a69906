/**
 * The columns by which a report joins its captured inputs: what the row states of a table are looked up by,
 * and indexed by therefore. A join that the text does not show as equalities is slower, never wrong.
 */
import type { EngineKind } from '../../sql/index.ts';
import { equalitiesOf } from './join-equalities.ts';
import type { CompiledReport } from '../model.ts';
import { readBlocks, type QueryBlock, type SelectBlock } from './sql-blocks.ts';

export interface JoinColumns {
  /** A captured table. */
  readonly table: string;
  /** In the order of the alphabet, each once; lower-cased as SQL compares them. */
  readonly columns: readonly string[];
}

/**
 * Finds, SELECT by SELECT, which columns of each captured input are equal to a column of another one. Of a
 * report of class `affectedKeys`, also those that its rows of touched keys are found by.
 */
export function joinColumns(
  report: Pick<CompiledReport, 'inputs' | 'sql' | 'affectedKeys'>,
  kind: EngineKind,
): readonly JoinColumns[] {
  const tables = new Map(
    report.inputs
      .filter((input) => input.kind !== 'dimension')
      .map(({ alias, table }) => [alias.toLowerCase(), table]),
  );
  const found = new Map<string, JoinColumns>();
  const add = (one: JoinColumns): void => void found.set(`${one.table} ${one.columns.join(' ')}`, one);
  const { touched = [], narrowed = [] } = report.affectedKeys ?? {};
  for (const sql of [report.sql, ...touched.map((one) => one.sql)]) {
    for (const select of selectsOf(readBlocks(sql, kind, 'any').query))
      columnsOf(select, tables).forEach(add);
  }
  for (const { alias, columns } of narrowed) {
    const table = tables.get(alias.toLowerCase());
    if (table !== undefined) add({ table, columns: [...new Set(columns)].sort() });
  }
  return [...found.values()];
}

function* selectsOf(query: QueryBlock): IterableIterator<SelectBlock> {
  for (const { query: inner } of query.ctes) yield* selectsOf(inner);
  for (const select of query.selects) {
    yield select;
    for (const { query: inner } of select.inner) yield* selectsOf(inner);
    for (const source of select.sources) if (source.kind === 'query') yield* selectsOf(source.query);
  }
}

function columnsOf(select: SelectBlock, tables: ReadonlyMap<string, string>): JoinColumns[] {
  const equalities = equalitiesOf(select);
  return select.sources.flatMap((source): JoinColumns[] => {
    const table = source.kind === 'table' ? tables.get(source.name.toLowerCase()) : undefined;
    if (table === undefined) return [];
    const as = source.as.toLowerCase();
    const columns = equalities.flatMap(([left, right]) => {
      if (left.of === right.of) return [];
      return [left, right].filter(({ of }) => of === as).map(({ column }) => column);
    });
    return columns.length === 0 ? [] : [{ table, columns: [...new Set(columns)].sort() }];
  });
}
