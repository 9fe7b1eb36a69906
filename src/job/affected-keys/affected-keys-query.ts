/**
 * The statement that computes the cells of the keys that a span touches (design 6.9). The author's text
 * stands in it as it is, over the row states as of the span's last window:
 *
 *     WITH _touched_0 AS (keys of the changed rows of the first input), ...,
 *          _touched AS (all of them, each once),
 *          _cells AS (the author's text)
 *     SELECT keys, 1, cells, window FROM _cells WHERE keys IN _touched
 *     UNION ALL SELECT keys, 0, NULL, window FROM _touched
 *
 * A touched key without a row is a tombstone. The keys of the first span are those that there are: nothing
 * was there before. NULL meets nothing by IN: whether a touched key that is NULL has a row is asked apart.
 */
import { must, mutated } from '../../base/index.ts';
import { parseColumnType, type Dialect, type SqlParam } from '../../sql/index.ts';
import type { ContributionQuery, OutputColumn } from '../contribution-queries.ts';
import { REPORT_ROWS } from '../contribution-queries.ts';
import type { AffectedKeys, CompiledReport } from '../model.ts';
import { stateTerm, touchedTerm, type ContributionInput, type Term } from '../stored-inputs.ts';

const TOUCHED = '_touched';
const CELLS = '_cells';

/** Result columns: `key_<i>`, `row_count` (1, or 0 for a tombstone), `value_<i>`, `state_window`. */
export function affectedKeysQuery(input: ContributionInput): ContributionQuery {
  const { dialect, report, of } = input;
  const affected = affectedOf(report);
  const last = lastOf(input);
  const isFirst = 'asOf' in of || of.windows[0]?.window === 1;
  const touched = isFirst ? [] : touchedParts(input, affected);
  const cells = cellsPart(
    dialect,
    report,
    stateTerm(input, last, isFirst ? undefined : narrow(dialect, affected)),
  );
  const parts = [...touched, cells];
  const { keys, values, window, found } = columnsFound(dialect, report);
  const gone = [...keys, '0', ...values.map(() => 'NULL'), window].join(', ');
  const own = keys.join(', ');
  const select = isFirst
    ? found
    : `${found} WHERE (${own}) IN (SELECT ${own} FROM ${dialect.id(TOUCHED)})\n` +
      `UNION ALL SELECT DISTINCT ${gone} FROM ${dialect.id(TOUCHED)}`;
  const params = parts.flatMap((part) => part.params);
  return {
    report: report.name,
    sql: `WITH ${parts.map(({ sql }) => sql).join(',\n')}\n${select}`,
    params: isFirst ? [...params, last] : [...params, last, last],
    columns: columnsOf(report),
    keysOnce: true,
  };
}

/**
 * One row, if there is any, that a touched key with NULL in it has after the span: such a key is a mistake,
 * as in a first span. It is asked only when {@link affectedKeysQuery} gave a tombstone of such a key: beside
 * `IN`, `OR ... IS NULL` would have the database read all rows.
 */
export function nullKeysQuery(input: ContributionInput): ContributionQuery {
  const { dialect, report } = input;
  const affected = affectedOf(report);
  const last = lastOf(input);
  const isNull = (columns: readonly string[]): string => columns.map((one) => `${one} IS NULL`).join(' OR ');
  const narrowed = (alias: string): string => {
    const columns = affected.narrowed.find((one) => one.alias === alias)?.columns;
    return columns === undefined ? '' : ` AND (${isNull(columns.map((column) => dialect.id(column)))})`;
  };
  const parts = [
    ...touchedParts(input, affected),
    cellsPart(dialect, report, stateTerm(input, last, narrowed)),
  ];
  const { keys, found } = columnsFound(dialect, report);
  const same = dialect.kind === 'mysql' ? '<=>' : 'IS';
  const touched = keys.map((key) => `t.${key} ${same} c.${key}`).join(' AND ');
  const sql =
    `WITH ${parts.map((part) => part.sql).join(',\n')}\n${found} AS c WHERE (${isNull(keys)}) ` +
    `AND EXISTS (SELECT 1 FROM ${dialect.id(TOUCHED)} AS t WHERE ${touched}) LIMIT 1`;
  const params = [...parts.flatMap((part) => part.params), last];
  return { report: report.name, sql, params, columns: columnsOf(report), keysOnce: true };
}

/** The keys that the span touches, each once and as they are; so many at most. */
export function touchedKeysQuery(
  input: ContributionInput,
  max: number,
): { readonly sql: string; readonly params: readonly SqlParam[] } {
  const parts = touchedParts(input, affectedOf(input.report));
  const raw = input.report.keys.map((_key, at) => `raw_${at}`).join(', ');
  const select = `SELECT DISTINCT ${raw} FROM ${input.dialect.id(TOUCHED)} LIMIT ${max}`;
  return {
    sql: `WITH ${parts.map(({ sql }) => sql).join(',\n')}\n${select}`,
    params: parts.flatMap(({ params }) => params),
  };
}

const affectedOf = ({ affectedKeys }: CompiledReport): AffectedKeys =>
  must(affectedKeys, 'what class affectedKeys needs');

const lastOf = ({ of }: ContributionInput): number =>
  'asOf' in of ? of.asOf : must(of.windows.at(-1), 'a window').window;

/** Names of the result's columns, and the SELECT of cells, whose one parameter is their window. */
function columnsFound(dialect: Dialect, report: CompiledReport) {
  const keys = report.keys.map((_key, at) => `key_${at}`);
  const values = report.measures.map((_measure, at) => `value_${at}`);
  const window = dialect.kind === 'mysql' ? 'CAST(? AS SIGNED)' : '?';
  const cell = [...keys, '1 AS row_count', ...values, `${window} AS state_window`].join(', ');
  return { keys, values, window, found: `SELECT ${cell} FROM ${dialect.id(CELLS)}` };
}

/** The same text over any inputs, and nothing else: what a check of the report runs. */
export function cellsQuery(dialect: Dialect, report: CompiledReport, term: Term): string {
  return `${withText(dialect, term, REPORT_ROWS, report.sql)}\nSELECT * FROM ${dialect.id(REPORT_ROWS)}`;
}

/** A SELECT of touched keys over any inputs. */
export function touchedQuery(dialect: Dialect, sql: string, term: Term): string {
  return `${withText(dialect, term, KEY_ROWS, sql)}\nSELECT * FROM ${dialect.id(KEY_ROWS)}`;
}

interface Part {
  readonly sql: string;
  readonly params: readonly SqlParam[];
}

const KEY_ROWS = '_key_rows';

/** A line ends before the parenthesis: the author's text may end in a comment. */
function withText(dialect: Dialect, term: Term, name: string, sql: string): string {
  const inputs = term.map((part) => `${dialect.id(part.alias)} AS (${part.sql})`);
  return `WITH ${[...inputs, `${dialect.id(name)} AS (\n${sql}\n)`].join(',\n')}`;
}

/**
 * The keys of the same sum over changing inputs as a join's: one term for each, of its changed rows and the
 * rows of the others, new before it and old after it. Keys come as they are and as they are stored.
 */
function touchedParts(input: ContributionInput, affected: AffectedKeys): Part[] {
  const { dialect, report } = input;
  const name = (at: number): string => dialect.id(`${TOUCHED}_${at}`);
  const columns = report.keys.flatMap((_key, at) => [`raw_${at}`, `key_${at}`]);
  const terms = affected.touched.map(({ alias, sql }, at): Part => {
    const term = touchedTerm(input, alias);
    const keys = report.keys.flatMap((key, index) => [
      `${dialect.id(key.name)} AS raw_${index}`,
      `${storedKey(dialect, key)} AS key_${index}`,
    ]);
    const text = withText(dialect, term, KEY_ROWS, sql);
    const select = `SELECT ${keys.join(', ')} FROM ${dialect.id(KEY_ROWS)}`;
    return {
      sql: `${name(at)} AS (\n${text}\n${select})`,
      params: term.flatMap(({ params }) => params),
    };
  });
  const all = terms.map((_term, at) => `SELECT ${columns.join(', ')} FROM ${name(at)}`).join(' UNION ');
  return [...terms, { sql: `${dialect.id(TOUCHED)} AS (${all})`, params: [] }];
}

/** By alias, the condition that picks the rows of touched keys. */
function narrow(dialect: Dialect, { narrowed }: AffectedKeys): (alias: string) => string {
  return (alias) => {
    const columns = narrowed.find((one) => one.alias === alias)?.columns;
    if (columns === undefined) return '';
    const own = columns.map((column) => dialect.id(column)).join(', ');
    const raw = columns.map((_column, at) => `raw_${at}`).join(', ');
    return ` AND (${own}) IN (SELECT ${raw} FROM ${dialect.id(TOUCHED)})`;
  };
}

function cellsPart(dialect: Dialect, report: CompiledReport, term: Term): Part {
  const keys = report.keys.map((key, at) => `${storedKey(dialect, key)} AS key_${at}`);
  const values = report.measures.map(({ name, type }, at) => {
    // A cast would round a fraction away without a word; who reads the result refuses what is no integer.
    const isInteger = type === 'BIGINT';
    return `${isInteger ? dialect.id(name) : dialect.toStored(dialect.id(name), type)} AS value_${at}`;
  });
  const items = [...keys, '1 AS found', ...values].join(', ');
  const text = withText(dialect, term, REPORT_ROWS, report.sql);
  return {
    sql: `${dialect.id(CELLS)} AS (\n${text}\nSELECT ${items} FROM ${dialect.id(REPORT_ROWS)})`,
    params: term.flatMap(({ params }) => params),
  };
}

/**
 * MySQL groups texts that differ in blanks at their end as one, and shows any of them: the report shows
 * none of the blanks, so that a key has one name whichever row it comes from.
 */
function storedKey(dialect: Dialect, { name, type }: CompiledReport['keys'][number]): string {
  const own = dialect.id(name);
  const isText = parseColumnType(type).kind === 'TEXT';
  const isPadded = dialect.kind === 'mysql' && isText && !mutated('job.paddedKeys');
  return dialect.toStored(isPadded ? `RTRIM(${own})` : own, type);
}

function columnsOf(report: CompiledReport): OutputColumn[] {
  const { keys, measures } = report;
  const number = (name: string): OutputColumn => ({ name, role: 'weight', label: name, type: 'BIGINT' });
  return [
    ...keys.map(({ name, type }, at): OutputColumn => ({
      name: `key_${at}`,
      role: 'key',
      label: name,
      type,
    })),
    number('row_count'),
    ...measures.map(({ name, type }, at): OutputColumn => ({
      name: `value_${at}`,
      role: 'sum',
      label: name,
      type,
    })),
    number('state_window'),
  ];
}
