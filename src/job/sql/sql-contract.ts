/**
 * The report contract of design 6.1, as far as the text alone tells it. A contribution must be linear in the
 * change rows: what two windows add separately is what they would add together, and an image with weight -1
 * takes away exactly what it added with +1. So each row must come from one change row, by expressions that
 * give the same value each time.
 */
import { TidemarkError } from '../../base/index.ts';
import { textPosition, tokenize, type EngineKind, type Token } from '../../sql/index.ts';
import { suggestion } from '../file/did-you-mean.ts';
import type { JobInput } from '../file/job-file.ts';
import {
  functionName,
  keyword,
  readBlocks,
  refuse,
  type QueryBlock,
  type SelectBlock,
  type SourceRef,
} from './sql-blocks.ts';
import { unstableValue } from './unstable-values.ts';
import { checkWeights } from './weights.ts';
import { words } from './words.ts';

const OTHER_CLASS = 'write class: affectedKeys, which takes any SELECT';

export const AGGREGATES = words(
  'SUM COUNT AVG MIN MAX TOTAL GROUP_CONCAT STRING_AGG JSON_ARRAYAGG JSON_OBJECTAGG JSON_GROUP_ARRAY',
  'JSON_GROUP_OBJECT BIT_AND BIT_OR BIT_XOR STD STDDEV STDDEV_POP STDDEV_SAMP VARIANCE VAR_POP VAR_SAMP',
  'MEDIAN ANY_VALUE PERCENTILE PERCENTILE_CONT PERCENTILE_DISC ST_COLLECT',
  // Those of the embedded engine.
  'JSONB_GROUP_ARRAY JSONB_GROUP_OBJECT STDEV MODE LOWER_QUARTILE UPPER_QUARTILE GEOPOLY_GROUP_BBOX',
);

const WRITES = words(
  'INSERT UPDATE DELETE REPLACE MERGE TRUNCATE CREATE ALTER DROP RENAME LOAD CALL DO SET GRANT REVOKE LOCK',
  'HANDLER EXECUTE PRAGMA ATTACH VACUUM',
);

const OUTER_JOINS: ReadonlySet<string> = new Set(['LEFT', 'RIGHT', 'FULL', 'NATURAL']);

/**
 * Checks the text of a report's SQL.
 * @throws TidemarkError `SQL_WRITES`, `SQL_INVALID` for what no report may hold, `JOB_UNSUPPORTED` for what
 * class `affectedKeys` computes; all with line and column within the SQL.
 */
export function checkReportSql(sql: string, inputs: readonly JobInput[], kind: EngineKind): void {
  checkReads(sql, tokenize(sql, kind)[0]);
  const { query, tokens } = readBlocks(sql, kind);
  checkTokens(sql, tokens, kind);
  tokens.forEach((token, at) => {
    checkAdditive(sql, tokens, token, at);
  });
  new LinearityCheck(sql, inputs).outermost(query);
  checkWeights(sql, inputs, kind);
}

/**
 * Checks the text of a SELECT that need not be additive: it reads inputs and nothing else, and gives the same
 * rows each time.
 * @throws TidemarkError `SQL_WRITES`, `SQL_INVALID`, with line and column within the SQL.
 */
export function checkAnySelect(sql: string, inputs: readonly JobInput[], kind: EngineKind): QueryBlock {
  checkReads(sql, tokenize(sql, kind)[0]);
  const { query, tokens } = readBlocks(sql, kind, 'any');
  checkTokens(sql, tokens, kind);
  checkTables(sql, query, new Set(inputs.map(({ alias }) => key(alias))));
  return query;
}

function checkTables(sql: string, query: QueryBlock, outer: ReadonlySet<string>): void {
  const known = new Set(outer);
  for (const { name, at, query: inner } of query.ctes) {
    if (known.has(key(name))) throw refuse(sql, at, `WITH ${name}: an input or WITH has this name already`);
    checkTables(sql, inner, known);
    known.add(key(name));
  }
  for (const select of query.selects) {
    for (const { query: inner } of select.inner) checkTables(sql, inner, known);
    for (const source of select.sources) {
      if (source.kind === 'query') checkTables(sql, source.query, known);
      else if (!known.has(key(source.name))) {
        const what = `${source.name} is no input of this report; ${suggestion(source.name, [...known])}`;
        throw refuse(sql, source.at, what);
      }
    }
  }
}

function checkTokens(sql: string, tokens: readonly Token[], kind: EngineKind): void {
  if (kind === 'embedded') checkDivisors(sql, tokens);
  tokens.forEach((token, at) => {
    checkToken(sql, tokens, token, at, kind);
  });
}

function checkReads(sql: string, first: Token | undefined): void {
  if (first === undefined || !WRITES.has(keyword(first))) return;
  throw new TidemarkError(
    'SQL_WRITES',
    `SQL ${textPosition(sql, first.start)}: ${keyword(first)} is no SELECT: a report only reads`,
  );
}

/**
 * SQLite divides by zero to NULL and says nothing; MySQL warns, which the task finds. So there a divisor is a
 * number, or says itself what zero means.
 */
function checkDivisors(sql: string, tokens: readonly Token[]): void {
  for (const [at, token] of tokens.entries()) {
    const called = keyword(token) === 'MOD' && tokens[at + 1]?.text === '(';
    if (!called && token.text !== '/' && token.text !== '%') continue;
    const divisor = tokens[at + 1];
    // `%` cuts fractions off first.
    const number = divisor?.kind === 'number' ? Number(divisor.text) : 0;
    const isNumber = (token.text === '%' ? Math.trunc(number) : number) !== 0;
    const isChecked = keyword(divisor) === 'NULLIF' && tokens[at + 2]?.text === '(';
    if (!called && (isNumber || isChecked)) continue;
    const how = called
      ? 'write a % b, with a divisor'
      : 'the embedded engine would make NULL of it: divide by';
    throw refuse(sql, token, `may divide by zero; ${how} that is a number, or NULLIF(x, 0)`);
  }
}

function checkToken(sql: string, tokens: readonly Token[], token: Token, at: number, kind: EngineKind): void {
  if (token.kind === 'placeholder' || token.text === ':' || /^[@$]/.test(token.text)) {
    throw refuse(sql, token, `${token.text}: a report has no parameters or variables`);
  }
  if (token.text === ';' && token.kind === 'symbol') {
    throw refuse(sql, token, 'one statement without a semicolon is expected');
  }
  if (token.text === '[') throw refuse(sql, token, 'a name is quoted as `name`, not as [name]');
  if (tokens[at - 1]?.text === '.' && functionName(tokens, at) !== '') {
    throw refuse(sql, token, `${token.text}(): a report calls no functions of a database`);
  }
  // `IN (TABLE x)` of MySQL and `IN x` of SQLite read a table where none is looked for.
  const isTable = keyword(token) === 'TABLE' && tokens[at - 1]?.text !== '.';
  const isIn = kind === 'embedded' && keyword(token) === 'IN' && tokens[at + 1]?.text !== '(';
  if (isTable || isIn) throw refuse(sql, token, 'a table is read as (SELECT ... FROM it)');
  const unstable = unstableValue(tokens, at, kind);
  if (unstable === undefined) return;
  const why = 'gives another value each time: a deleted row would not take back what it added';
  throw refuse(sql, token, `${unstable} ${why}`);
}

function checkAdditive(sql: string, tokens: readonly Token[], token: Token, at: number): void {
  if (tokens[at - 1]?.text === '.') return;
  const problem = notAdditive(tokens, at);
  if (problem === undefined) return;
  if (token.depth === 0) {
    const what = `${problem}: return one row per change, Tidemark adds them up; or ${OTHER_CLASS}`;
    throw refuse(sql, token, what);
  }
  throw unsupported(sql, token, `${problem} is not additive: ${OTHER_CLASS}`);
}

function notAdditive(tokens: readonly Token[], at: number): string | undefined {
  const word = keyword(tokens[at]);
  const next = keyword(tokens[at + 1]);
  const called = functionName(tokens, at);
  if (AGGREGATES.has(called)) return `the aggregate ${called}()`;
  if (word === 'GROUP' && next === 'BY') return 'GROUP BY';
  if (word === 'DISTINCT' && ['IS', 'NOT'].includes(keyword(tokens[at - 1]))) return undefined;
  if (word === 'HAVING' || word === 'LIMIT' || word === 'DISTINCT' || word === 'DISTINCTROW') return word;
  if (word === 'FETCH' && (next === 'FIRST' || next === 'NEXT')) return `FETCH ${next}`;
  if (word === 'OFFSET' && ['ROW', 'ROWS'].includes(keyword(tokens[at + 2]))) return 'OFFSET';
  if (word === 'OVER' && (called !== '' || tokens[at - 1]?.text === ')')) return 'a window function';
  if (OUTER_JOINS.has(word) && (next === 'JOIN' || next === 'OUTER' || word === 'NATURAL'))
    return `${word} JOIN`;
  return undefined;
}

function unsupported(sql: string, at: Token, what: string): TidemarkError {
  return new TidemarkError('JOB_UNSUPPORTED', `SQL ${textPosition(sql, at.start)}: ${what}`);
}

/** Which changing inputs enter a row of a table, each once: their aliases. None for what does not change. */
type Reads = ReadonlySet<string>;
type KnownTables = ReadonlyMap<string, Reads>;

const NOTHING: Reads = new Set();
const sameReads = (left: Reads, right: Reads): boolean =>
  left.size === right.size && [...left].every((alias) => right.has(alias));

/** Checks that a row of the result comes from one row of each changing input. */
class LinearityCheck {
  readonly #sql: string;
  readonly #inputs: readonly JobInput[];
  readonly #changing: Reads;

  constructor(sql: string, inputs: readonly JobInput[]) {
    this.#sql = sql;
    this.#inputs = inputs;
    this.#changing = new Set(inputs.filter(({ kind }) => kind === 'changes').map(({ alias }) => key(alias)));
  }

  outermost(query: QueryBlock): void {
    const inputs = this.#inputs.map(({ alias, kind }): [string, Reads] => [
      key(alias),
      kind === 'changes' ? new Set([key(alias)]) : NOTHING,
    ]);
    const known = this.#withCtes(query, new Map(inputs));
    for (const select of query.selects) {
      const reads = this.#select(select, known);
      const missing = [...this.#changing].filter((alias) => !reads.has(alias));
      if (missing.length === 0) continue;
      const what = `a SELECT that does not read the changes input ${missing.join(', ')}`;
      throw new TidemarkError('SQL_INVALID', `${what}: each branch returns rows with their _w`);
    }
  }

  #withCtes(query: QueryBlock, outer: KnownTables): KnownTables {
    const known = new Map(outer);
    for (const { name, at, query: inner } of query.ctes) {
      if (known.has(key(name)))
        throw refuse(this.#sql, at, `WITH ${name}: an input or WITH has this name already`);
      known.set(key(name), this.#query(inner, known));
    }
    return known;
  }

  #query(query: QueryBlock, outer: KnownTables): Reads {
    const known = this.#withCtes(query, outer);
    const [first = NOTHING, ...rest] = query.selects.map((select) => this.#select(select, known));
    if (rest.every((reads) => sameReads(reads, first))) return first;
    const what = 'one branch of a UNION ALL reads the changes and another does not';
    throw new TidemarkError('SQL_INVALID', `${what}: its rows would be added again in every window`);
  }

  #select(select: SelectBlock, known: KnownTables): Reads {
    for (const { at, query } of select.inner) {
      if (this.#query(query, known).size === 0) continue;
      throw unsupported(this.#sql, at, `a subquery in an expression reads the changes: ${OTHER_CLASS}`);
    }
    const reads = new Set<string>();
    for (const source of select.sources) {
      for (const alias of this.#source(source, known)) {
        if (reads.has(alias)) {
          const what = `the changes ${alias} are joined with themselves: give the table a second input, or`;
          throw unsupported(this.#sql, source.at, `${what} ${OTHER_CLASS}`);
        }
        reads.add(alias);
      }
    }
    return reads;
  }

  #source(source: SourceRef, known: KnownTables): Reads {
    return source.kind === 'query'
      ? this.#query(source.query, known)
      : this.#table(source.name, source.at, known);
  }

  #table(name: string, at: Token, known: KnownTables): Reads {
    const reads = known.get(key(name));
    if (reads !== undefined) return reads;
    const names = [...new Set([...this.#inputs.map(({ alias }) => alias), ...known.keys()])];
    throw refuse(this.#sql, at, `${name} is no input of this report; ${suggestion(name, names)}`);
  }
}

const key = (name: string): string => name.toLowerCase();
