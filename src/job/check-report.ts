/** Checks a report's SQL against the source, without effect: the text that tasks will run, over no rows. */
import { assertNever, isTidemarkError, TidemarkError } from '../base/index.ts';
import {
  parseColumnType,
  type DeclaredType,
  type Dialect,
  type ResultColumn,
  type ResultSet,
  type SqlConnection,
} from '../sql/index.ts';
import { cellsQuery, touchedQuery } from './affected-keys/affected-keys-query.ts';
import { buildQueries, REPORT_ROWS, withRows } from './contribution-queries.ts';
import { suggestion } from './file/did-you-mean.ts';
import type { AffectedKeys, CapturedTable, CompiledReport, ReportInput } from './model.ts';
import { unitWeight, type InputText, type Term } from './stored-inputs.ts';

export interface CheckReportInput {
  /** On the report's source. */
  readonly connection: SqlConnection;
  readonly dialect: Dialect;
  readonly report: CompiledReport;
  /** The captured tables of the source. */
  readonly tables: readonly CapturedTable[];
}

/**
 * Runs the report's SQL over an empty range of the source's own tables and compares what it returns with
 * what is
 * declared. The embedded engine knows no types of expressions: there `readRows` checks each value instead.
 * @throws TidemarkError `SQL_INVALID`, `SQL_WRITES`, `SQL_TOO_SLOW`, `SQL_COLUMNS`, `MEASURE_TYPE`, and those
 * of the engine if the source cannot be asked.
 */
export async function checkReport(input: CheckReportInput): Promise<void> {
  const { dialect, report } = input;
  if (report.affectedKeys !== undefined) return checkCells(input, report.affectedKeys);
  const terms = await sourceTerms(input, 'none');
  const rows = `${withRows(dialect, report, terms)}\nSELECT * FROM ${dialect.id(REPORT_ROWS)}`;
  const { columns } = await run(input, rows);
  checkNames(report, columns, [...report.keys, ...report.measures, { name: '_w' }]);
  checkTypes(report, columns);
  const queries = buildQueries(dialect, report, terms);
  for (const { sql } of [queries.additive, ...queries.multisets]) await run(input, sql);
}

/** The SQL of class `affectedKeys` returns keys and cells, a SELECT of touched keys the keys alone. */
async function checkCells(input: CheckReportInput, { touched }: AffectedKeys): Promise<void> {
  const { dialect, report } = input;
  const [term = []] = await sourceTerms(input, 'none');
  const { columns } = await run(input, cellsQuery(dialect, report, term));
  checkNames(report, columns, [...report.keys, ...report.measures]);
  checkTypes(report, columns);
  for (const { alias, sql } of touched) {
    const found = await run(input, touchedQuery(dialect, sql, term));
    checkNames({ name: `${report.name}, inputs.${alias}.touched` }, found.columns, report.keys);
  }
}

/**
 * The report's inputs as the source's own tables: with no row of them, in as many terms as a span has, or
 * with all that are there now, as one.
 */
export async function sourceTerms(input: CheckReportInput, rows: 'none' | 'all'): Promise<Term[]> {
  const schema = await schemaOf(input);
  const tail = rows === 'none' ? ' WHERE 1 = 0' : '';
  const term = input.report.inputs.map((part) => sourceInput(input, part, schema, tail));
  if (input.report.affectedKeys !== undefined) return [term];
  const changing = input.report.inputs.filter(({ kind }) => kind === 'changes');
  return rows === 'all' ? [term] : changing.map(() => term);
}

/**
 * Names the database of the connection. Tables are qualified with it: an alias may be the name of a table,
 * its own
 * or another input's, and a WITH would then hide the table.
 */
async function schemaOf({ connection, dialect }: CheckReportInput): Promise<string> {
  if (dialect.kind === 'embedded') return 'main';
  const { rows } = await connection.query('SELECT DATABASE()');
  const name = rows[0]?.[0];
  if (typeof name === 'string') return name;
  throw new TidemarkError('CONFIG_INVALID', 'the URL of the source names no database', {
    next: 'Write mysql://user:password@host:3306/database.',
  });
}

function sourceInput(
  { dialect, tables, report }: CheckReportInput,
  part: ReportInput,
  schema: string,
  tail: string,
): InputText {
  const found = part.kind === 'dimension' ? part : tables.find((table) => table.table === part.table);
  if (found === undefined) {
    throw new TidemarkError('TABLE_MISSING', `report ${report.name}: table ${part.table} is not captured`);
  }
  const shown = part.kind === 'dimension' ? undefined : part.uses;
  const names = found.columns
    .filter(({ name }) => shown?.includes(name) ?? true)
    .map((column) => dialect.id(column.name));
  if (part.kind !== 'dimension' && report.affectedKeys === undefined) names.push(unitWeight(dialect));
  if (names.length === 0) names.push('1 AS _row');
  const sql = `SELECT ${names.join(', ')} FROM ${dialect.id(schema)}.${dialect.id(part.table)}${tail}`;
  return { alias: part.alias, sql, params: [] };
}

const OF_THE_SQL = [
  ...(['SQL_INVALID', 'TABLE_MISSING', 'VALUE_RANGE', 'DIVISION_BY_ZERO', 'DB_FAILED'] as const),
  ...(['SQL_WRITES', 'SQL_TOO_SLOW'] as const),
];

async function run({ connection, report }: CheckReportInput, sql: string): Promise<ResultSet> {
  try {
    return await connection.query(sql);
  } catch (error) {
    if (!isTidemarkError(error, ...OF_THE_SQL)) throw error;
    const own = isTidemarkError(error, 'SQL_WRITES', 'SQL_TOO_SLOW');
    const where = isTidemarkError(error, 'TABLE_MISSING') ? ` over source ${report.source}` : '';
    throw new TidemarkError(
      own ? error.code : 'SQL_INVALID',
      `report ${report.name}${where}: ${error.message}`,
      {
        next: 'Correct the SQL of the report; the database refused it.',
        cause: error,
      },
    );
  }
}

function checkNames(
  report: { readonly name: string },
  columns: readonly ResultColumn[],
  expected: readonly { readonly name: string }[],
): void {
  const declared = expected.map((column) => column.name);
  const found = columns.map((column) => column.name);
  const missing = declared.filter((name) => !found.includes(name));
  const excess = found.filter((name) => !declared.includes(name));
  const problems = [
    ...missing.map((name) => `does not return ${name}`),
    ...excess.map(
      (name) => `returns ${name}, which is neither key nor measure; ${suggestion(name, declared)}`,
    ),
  ];
  if (problems.length === 0) return;
  throw new TidemarkError('SQL_COLUMNS', `the SQL of report ${report.name} ${problems.join('; ')}`, {
    next: `Return exactly these columns: ${declared.join(', ')}.`,
  });
}

/** `count` takes any value: it only asks whether it is NULL. */
function checkTypes(report: CompiledReport, columns: readonly ResultColumn[]): void {
  const declared = [
    ...report.keys,
    ...report.measures.filter((measure) => measure.kind !== 'count'),
    { name: '_w', type: 'BIGINT' },
  ];
  for (const { name, type } of declared) {
    const found = columns.find((column) => column.name === name);
    if (found !== undefined) checkSign(report.name, name, type, found);
    const isCell = report.affectedKeys !== undefined && report.measures.some((one) => one.name === name);
    const isRight = isCell ? mayBeCell : mayBecome;
    if (found === undefined || isRight(parseColumnType(type), found.type)) continue;
    throw new TidemarkError(
      'MEASURE_TYPE',
      `report ${report.name}: ${name} is declared ${type}, the SQL gives a value of type ${found.type}`,
      { next: `Declare another type, or CAST ${name} in the SQL.` },
    );
  }
}

/** A value above 2^63 would become a negative one, and MySQL refuses its product with a weight of -1. */
function checkSign(report: string, name: string, type: string, found: ResultColumn): void {
  const declared = parseColumnType(type);
  if (found.unsigned64 !== true || declared.kind !== 'BIGINT' || declared.unsigned) return;
  throw new TidemarkError(
    'MEASURE_TYPE',
    `report ${report}: ${name} is declared ${type}, the SQL gives an unsigned integer of 64 bits`,
    { next: `Declare it BIGINT UNSIGNED, or write CAST(... AS SIGNED) in the SQL.` },
  );
}

/**
 * A cell is not added to others, so it may be a real number; MySQL gives sums of integers as DECIMAL, and who
 * reads the result refuses what is no integer.
 */
function mayBeCell(declared: DeclaredType, found: ResultColumn['type']): boolean {
  if (declared.kind === 'DOUBLE') return found === 'float' || found === 'decimal' || found === 'integer';
  return (declared.kind === 'BIGINT' && found === 'decimal') || mayBecome(declared, found);
}

/** Whether a value of the found type is kept as the declared one without being changed unseen. */
function mayBecome(declared: DeclaredType, found: ResultColumn['type']): boolean {
  if (found === 'unknown') return true;
  switch (declared.kind) {
    case 'BIGINT':
    case 'BOOL':
      return found === 'integer';
    case 'DECIMAL':
      return found === 'integer' || found === 'decimal';
    case 'TEXT':
    case 'JSON':
      return found === 'text' || found === 'json';
    case 'BYTES':
      return found === 'binary' || found === 'text';
    case 'DATE':
    case 'DATETIME':
    case 'TIMESTAMP':
    case 'TIME':
      return found === 'temporal' || found === 'text';
    case 'DOUBLE':
    case 'FLOAT':
    case 'YEAR':
    case 'BIT':
    case 'ENUM':
    case 'SET':
      return false;
    default:
      return assertNever(declared, 'column type');
  }
}
