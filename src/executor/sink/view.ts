/**
 * What people read: the view named after the report. It hides empty rows, and computes what is derived
 * (averages, least and greatest values) at the moment of reading, so that nothing derived can be stored
 * wrongly.
 */
import { assertNever, must, mutated } from '../../base/index.ts';
import type { Dialect } from '../../sql/index.ts';
import {
  nonNullColumn,
  ROW_COUNT,
  squaresColumn,
  sumColumn,
  valueColumn,
  type ReportLayout,
} from './layout.ts';

/**
 * Makes the statements that (re)create the view. Run them in one transaction: SQLite has no replacement in
 * place.
 */
export function viewStatements(dialect: Dialect, layout: ReportLayout): string[] {
  const name = dialect.id(layout.report.name);
  const select = viewSelect(dialect, layout);
  if (dialect.kind === 'mysql') return [`CREATE OR REPLACE VIEW ${name} AS ${select}`];
  return [`DROP VIEW IF EXISTS ${name}`, `CREATE VIEW ${name} AS ${select}`];
}

function viewSelect(dialect: Dialect, layout: ReportLayout): string {
  const columns = [
    ...layout.keys.map(
      (key) => `${dialect.fromStored(`r.${key.column}`, key.type)} AS ${dialect.id(key.name)}`,
    ),
    ...layout.report.measures.map(
      (measure, index) => `${cell(dialect, layout, index)} AS ${dialect.id(measure.name)}`,
    ),
  ];
  return `SELECT ${columns.join(', ')} FROM ${dialect.id(layout.table)} AS r WHERE r.${ROW_COUNT} <> 0`;
}

function cell(dialect: Dialect, layout: ReportLayout, index: number): string {
  const measure = must(layout.report.measures[index], 'a measure');
  const sum = `r.${sumColumn(index)}`;
  const nonNull = `r.${nonNullColumn(index)}`;
  switch (measure.kind) {
    case 'count':
      return nonNull;
    case 'sum':
      return shownIf(nonNull, sum);
    case 'avg':
      // MySQL divides integers and decimals exactly; SQLite would cut off the fraction of an integer.
      return shownIf(nonNull, `${dialect.kind === 'mysql' ? sum : `CAST(${sum} AS REAL)`} / ${nonNull}`);
    case 'variance':
      return shownIf(nonNull, varianceOf(dialect, layout, index));
    case 'min':
    case 'max':
      return extreme(dialect, layout, index);
    case 'value':
      return dialect.fromStored(`r.${valueColumn(index)}`, measure.type);
    case 'distinct':
      return `(SELECT COUNT(*) FROM ${members(dialect, layout, index)})`;
    default:
      return assertNever(measure.kind, 'measure kind');
  }
}

function varianceOf(dialect: Dialect, layout: ReportLayout, index: number): string {
  const { type } = must(layout.report.measures[index], 'a measure');
  return dialect.variance({
    sum: `r.${sumColumn(index)}`,
    squares: `r.${squaresColumn(index)}`,
    count: `r.${nonNullColumn(index)}`,
    type,
  });
}

/** A sum over no values is NULL, as in SQL, also after its last value was deleted. */
function shownIf(nonNull: string, expression: string): string {
  if (mutated('merge.nonNullCountIgnored')) return expression;
  return `CASE WHEN ${nonNull} = 0 THEN NULL ELSE ${expression} END`;
}

/**
 * The first member of positive weight in the order of the index: values of weight 0 or below are not there
 * (yet).
 */
function extreme(dialect: Dialect, layout: ReportLayout, index: number): string {
  const measure = must(layout.report.measures[index], 'a measure');
  const order = measure.kind === 'min' ? 'ASC' : 'DESC';
  const value = dialect.fromStored('m.value', measure.type);
  return `(SELECT ${value} FROM ${members(dialect, layout, index)} ORDER BY m.value ${order} LIMIT 1)`;
}

/** The values that a key has now, as what follows FROM. */
function members(dialect: Dialect, layout: ReportLayout, index: number): string {
  const own = layout.report.measures[index]?.sameAs ?? index;
  const multiset = must(
    layout.multisets.find((candidate) => candidate.measure === own),
    'the multiset of a measure',
  );
  const sameKey = layout.keys.map((key) => `m.${key.column} = r.${key.column}`);
  const present = mutated('merge.absentMembersCount') ? 'm.weight <> 0' : 'm.weight > 0';
  return `${dialect.id(multiset.table)} AS m WHERE ${[...sameKey, present].join(' AND ')}`;
}
