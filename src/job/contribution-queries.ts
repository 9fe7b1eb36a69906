/**
 * The statements that compute what a span adds to a report (design 6.1). The user's text stands in them as it
 * is: its inputs are common table expressions around it, its result is grouped outside of it (decision 0001).
 *
 *     WITH o AS (SELECT ..., _w FROM change table WHERE source, epoch, day, window), m AS (dimension),
 *          _report_rows AS (user's SQL)
 *     SELECT key_0, ..., row_count, sum_1, nonnull_1, ... FROM (typed _report_rows) GROUP BY key_0, ...
 *
 * A report over several changing inputs has its text in there once for each of them (stored-inputs.ts).
 *
 * Result columns, in this order (those of src/executor/sink/layout.ts):
 * - additive: `key_<i>`, then `row_count` (the sum of `_w`), then for each count, sum, avg and variance
 * measure
 *   in its order `sum_<measure>` (not for count), `squares_<measure>` (for variance) and `nonnull_<measure>`;
 * - one statement for each min, max and distinct measure, unless it has the values of an earlier one
 *   (`sameAs`): `key_<i>`, `value`, `weight`, without weights of 0.
 *
 * Keys and multiset values come as they are stored (text as bytes). What SQL itself cannot refuse, {@link
 * readRows} does.
 */
import { must, mutated } from '../base/index.ts';
import { parseColumnType, type Dialect, type SqlParam } from '../sql/index.ts';
import type { CompiledReport, Measure } from './model.ts';
import { storedTerms, type ContributionInput, type Term } from './stored-inputs.ts';

/** What a result column holds, for {@link readRows}. */
export interface OutputColumn {
  readonly name: string;
  readonly role: 'key' | 'value' | 'sum' | 'weight';
  /** What the user calls it. */
  readonly label: string;
  /** Declared type. */
  readonly type: string;
}

export interface ContributionQuery {
  readonly report: string;
  readonly sql: string;
  readonly params: readonly SqlParam[];
  readonly columns: readonly OutputColumn[];
  /** Rows are cells, of which a key may have one, and tombstones of all touched keys (`affectedKeys`). */
  readonly keysOnce?: true;
}

export interface ContributionQueries {
  readonly additive: ContributionQuery;
  /** One for each min, max and distinct measure; `measure` is its position among the report's measures. */
  readonly multisets: readonly (ContributionQuery & { readonly measure: number })[];
}

/** Builds the statements; running them in one snapshot of the store is the caller's. */
export function contributionQueries(input: ContributionInput): ContributionQueries {
  const { dialect, report } = input;
  return buildQueries(dialect, report, storedTerms(input));
}

/**
 * As {@link contributionQueries}, over any inputs: the check of a report runs the same text over the
 * source's tables.
 */
export function buildQueries(
  dialect: Dialect,
  report: CompiledReport,
  terms: readonly Term[],
): ContributionQueries {
  const query = (
    columns: readonly OutputColumn[],
    grouped: readonly string[],
    tail: string,
  ): ContributionQuery => {
    const names = columns.map(({ name }, at) => `${must(grouped[at], 'an expression')} AS ${name}`);
    const sql = `${withRows(dialect, report, terms)}\nSELECT ${names.join(', ')}\n${tail}`;
    return { report: report.name, sql, params: terms.flat().flatMap((part) => part.params), columns };
  };
  return {
    additive: additiveQuery(dialect, report, query),
    multisets: report.measures.flatMap((measure, index) => {
      if (!hasMultiset(measure)) return [];
      return [{ measure: index, ...multisetQuery(dialect, report, measure, query) }];
    }),
  };
}

/** Whether a measure has a multiset of its own, and does not read that of an earlier one. */
export function hasMultiset(measure: Measure): boolean {
  return isMultisetMeasure(measure) && measure.sameAs === undefined;
}

export function isMultisetMeasure(measure: Measure): boolean {
  return measure.kind === 'min' || measure.kind === 'max' || measure.kind === 'distinct';
}

/** No alias of a job file begins with an underscore. */
export const REPORT_ROWS = '_report_rows';

/**
 * The WITH clause that gives the user's text its inputs and {@link REPORT_ROWS} its result, or the results of
 * all terms together. The text is a common table expression too: in a derived table MariaDB would not show it
 * the others if it begins with a WITH itself.
 */
export function withRows(dialect: Dialect, report: CompiledReport, terms: readonly Term[]): string {
  const [only, ...more] = terms;
  if (only !== undefined && more.length === 0) return `WITH ${termParts(dialect, report, only, REPORT_ROWS)}`;
  const columns = [...report.keys, ...report.measures]
    .map(({ name }) => dialect.id(name))
    .concat('_w')
    .join(', ');
  const names = terms.map((_term, at) => dialect.id(`_term_${at}`));
  const parts = terms.map((term, at) => {
    const text = termParts(dialect, report, term, '_term_rows');
    return `${names[at] ?? ''} AS (\nWITH ${text}\nSELECT ${columns} FROM ${dialect.id('_term_rows')})`;
  });
  const all = names.map((name) => `SELECT ${columns} FROM ${name}`).join(' UNION ALL ');
  return `WITH ${[...parts, `${dialect.id(REPORT_ROWS)} AS (${all})`].join(',\n')}`;
}

function termParts(dialect: Dialect, report: CompiledReport, term: Term, rows: string): string {
  const parts = term.map(({ alias, sql }) => `${dialect.id(alias)} AS (${sql})`);
  // The line ends before the parenthesis: the user's text may end in a comment.
  return [...parts, `${dialect.id(rows)} AS (\n${report.sql}\n)`].join(',\n');
}

type BuildQuery = (
  columns: readonly OutputColumn[],
  expressions: readonly string[],
  tail: string,
) => ContributionQuery;

function additiveQuery(dialect: Dialect, report: CompiledReport, query: BuildQuery): ContributionQuery {
  const columns: OutputColumn[] = [...keyColumns(report), weightColumn('row_count', '_w')];
  const expressions = [...keyNames(report), weightSum(dialect, '_w')];
  for (const [index, measure] of report.measures.entries()) {
    if (isMultisetMeasure(measure)) continue;
    const value = `measure_${index}`;
    if (measure.kind !== 'count') {
      columns.push({ name: `sum_${index}`, role: 'sum', label: measure.name, type: measure.type });
      expressions.push(dialect.castSum(`COALESCE(SUM(_w * ${value}), 0)`, measure.type));
    }
    if (measure.kind === 'variance') {
      columns.push({ name: `squares_${index}`, role: 'sum', label: measure.name, type: measure.type });
      const square = mutated('job.squaresRounded')
        ? `1e0 * ${value} * ${value}`
        : dialect.square(value, measure.type);
      expressions.push(dialect.castSquares(`COALESCE(SUM(_w * ${square}), 0)`, measure.type));
    }
    columns.push(weightColumn(`nonnull_${index}`, measure.name));
    expressions.push(weightSum(dialect, `CASE WHEN ${value} IS NULL THEN 0 ELSE _w END`));
  }
  const inner = report.measures.flatMap((measure, index) =>
    isMultisetMeasure(measure) ? [] : [`${summand(dialect, measure)} AS measure_${index}`],
  );
  return query(
    columns,
    expressions,
    `${rowsOf(dialect, report, inner)}\nGROUP BY ${keyNames(report).join(', ')}`,
  );
}

function multisetQuery(
  dialect: Dialect,
  report: CompiledReport,
  measure: Measure,
  query: BuildQuery,
): ContributionQuery {
  const columns: OutputColumn[] = [
    ...keyColumns(report),
    { name: 'value', role: 'value', label: measure.name, type: measure.type },
    weightColumn('weight', measure.name),
  ];
  const keys = keyNames(report);
  const tail = [
    rowsOf(dialect, report, [memberOf(dialect, measure)]),
    'WHERE member IS NOT NULL',
    `GROUP BY ${[...keys, 'member'].join(', ')}`,
    `HAVING ${weightSum(dialect, '_w')} <> 0`,
  ];
  return query(columns, [...keys, 'member', weightSum(dialect, '_w')], tail.join('\n'));
}

function memberOf(dialect: Dialect, measure: Measure): string {
  return `${dialect.toStored(dialect.id(measure.name), measure.type)} AS member`;
}

/** The user's rows with keys and measures under fixed names, so that no name of theirs meets one of ours. */
function rowsOf(dialect: Dialect, report: CompiledReport, measures: readonly string[]): string {
  const keys = report.keys.map(
    ({ name, type }, at) => `${storedKey(dialect, dialect.id(name), type)} AS key_${at}`,
  );
  const rows = `SELECT ${[...keys, ...measures, '_w'].join(', ')} FROM ${dialect.id(REPORT_ROWS)}`;
  return `FROM (${rows}) AS typed_rows`;
}

/** Text as bytes: a collation would take `a` and `a ` for one key, and show whichever came first. */
function storedKey(dialect: Dialect, name: string, type: string): string {
  return mutated('job.textKeysNotBytes') ? name : dialect.toStored(name, type);
}

/**
 * A DECIMAL is brought to its declared scale before it is summed: rounding sums would depend on how windows
 * were cut. An unsigned integer becomes a DECIMAL: MySQL refuses its product with a weight of -1.
 */
function summand(dialect: Dialect, measure: Measure): string {
  const name = dialect.id(measure.name);
  const type = parseColumnType(measure.type);
  const isUnsigned = type.kind === 'BIGINT' && type.unsigned && dialect.kind === 'mysql';
  if (isUnsigned && !mutated('job.unsignedTimesWeight')) {
    return `CAST(${name} AS DECIMAL(20,0))`;
  }
  const isDecimal = type.kind === 'DECIMAL';
  return isDecimal && !mutated('job.roundSumsNotValues') ? dialect.toStored(name, measure.type) : name;
}

/**
 * A sum of weights, as an integer. MySQL sums integers as DECIMAL, which costs a third of a grouped SELECT;
 * weights are 1 and -1, so that their sums are exact as real numbers too, up to 2^53 rows.
 */
function weightSum(dialect: Dialect, weight: string): string {
  return dialect.kind === 'mysql' ? `CAST(SUM(1e0 * (${weight})) AS SIGNED)` : `SUM(${weight})`;
}

const keyNames = (report: CompiledReport): string[] => report.keys.map((_key, at) => `key_${at}`);

function keyColumns(report: CompiledReport): OutputColumn[] {
  return report.keys.map(({ name, type }, at) => ({ name: `key_${at}`, role: 'key', label: name, type }));
}

function weightColumn(name: string, label: string): OutputColumn {
  return { name, role: 'weight', label, type: 'BIGINT' };
}
