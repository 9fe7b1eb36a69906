/**
 * The report contract of design 6.1, as far as the text alone tells it. A contribution must be linear in the
 * change rows: what two windows add separately is what they would add together, and an image with weight -1
 * takes away exactly what it added with +1. So each row must come from one change row, by expressions that
 * give the same value each time.
 */
import { TidemarkError } from '../base/index.ts';
import { textPosition, type EngineKind, type Token } from '../sql/index.ts';
import { suggestion } from './did-you-mean.ts';
import type { JobInput } from './job-file.ts';
import { keyword, readBlocks, refuse, type QueryBlock, type SelectBlock } from './sql-blocks.ts';

const LATER = 'it will come as class affectedKeys with the windows version';

const words = (...lines: readonly string[]): ReadonlySet<string> => new Set(lines.join(' ').split(' '));

const AGGREGATES = words(
  'SUM COUNT AVG MIN MAX TOTAL GROUP_CONCAT STRING_AGG JSON_ARRAYAGG JSON_OBJECTAGG JSON_GROUP_ARRAY',
  'JSON_GROUP_OBJECT BIT_AND BIT_OR BIT_XOR STD STDDEV STDDEV_POP STDDEV_SAMP VARIANCE VAR_POP VAR_SAMP',
  'MEDIAN ANY_VALUE',
);

/** Give another value at another time, so a deleted row would not take away what it added. */
const UNSTABLE = words(
  'NOW SYSDATE CURDATE CURTIME RAND RANDOM RANDOMBLOB UUID UUID_SHORT CONNECTION_ID LAST_INSERT_ID',
  'LAST_INSERT_ROWID CHANGES TOTAL_CHANGES ROW_COUNT FOUND_ROWS SLEEP BENCHMARK GET_LOCK VERSION',
);
/** Of these a bare word is a value already. */
const UNSTABLE_WORDS = words(
  'CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP UTC_DATE UTC_TIME UTC_TIMESTAMP',
);

const OUTER_JOINS: ReadonlySet<string> = new Set(['LEFT', 'RIGHT', 'FULL', 'NATURAL']);

/**
 * Checks the text of a report's SQL.
 * @throws TidemarkError `SQL_INVALID` for what no report may hold, `JOB_UNSUPPORTED` for what a later version
 * will compute in another way; both with line and column within the SQL.
 */
export function checkReportSql(sql: string, inputs: readonly JobInput[], kind: EngineKind): void {
  const { query, tokens } = readBlocks(sql, kind);
  tokens.forEach((token, at) => {
    checkToken(sql, tokens, token, at);
  });
  const degrees = new Map(
    inputs.map(({ alias, kind: input }) => [alias.toLowerCase(), input === 'changes' ? 1 : 0]),
  );
  new LinearityCheck(
    sql,
    inputs.map((input) => input.alias),
  ).outermost(query, degrees);
}

function checkToken(sql: string, tokens: readonly Token[], token: Token, at: number): void {
  if (token.kind === 'placeholder' || token.text === ':' || /^[@$]/.test(token.text)) {
    throw refuse(sql, token, `${token.text}: a report has no parameters or variables`);
  }
  if (token.text === ';' && token.kind === 'symbol') {
    throw refuse(sql, token, 'one statement without a semicolon is expected');
  }
  const word = keyword(token);
  if (word === '' || tokens[at - 1]?.text === '.') return;
  const called = tokens[at + 1]?.text === '(';
  if (UNSTABLE_WORDS.has(word) || (called && UNSTABLE.has(word))) {
    throw refuse(
      sql,
      token,
      `${word} gives another value each time: a deleted row would not take back what it added`,
    );
  }
  const problem = notAdditive(tokens, at, word, called);
  if (problem === undefined) return;
  if (token.depth === 0)
    throw refuse(sql, token, `${problem}: return one row per change, Tidemark adds them up`);
  throw unsupported(sql, token, `${problem} is not additive: ${LATER}`);
}

function notAdditive(
  tokens: readonly Token[],
  at: number,
  word: string,
  called: boolean,
): string | undefined {
  const next = keyword(tokens[at + 1]);
  if (called && AGGREGATES.has(word)) return `the aggregate ${word}()`;
  if (word === 'GROUP' && next === 'BY') return 'GROUP BY';
  if (word === 'DISTINCT' && ['IS', 'NOT'].includes(keyword(tokens[at - 1]))) return undefined;
  if (word === 'HAVING' || word === 'LIMIT' || word === 'DISTINCT' || word === 'DISTINCTROW') return word;
  if (word === 'OVER' && (called || tokens[at - 1]?.text === ')')) return 'a window function';
  if (OUTER_JOINS.has(word) && (next === 'JOIN' || next === 'OUTER' || word === 'NATURAL'))
    return `${word} JOIN`;
  return undefined;
}

function unsupported(sql: string, at: Token, what: string): TidemarkError {
  return new TidemarkError('JOB_UNSUPPORTED', `SQL ${textPosition(sql, at.start)}: ${what}`);
}

/**
 * How often the change rows enter a row of a table: 0 for dimensions, 1 for what is linear in the changes.
 */
type Degrees = ReadonlyMap<string, number>;

class LinearityCheck {
  readonly #sql: string;
  readonly #aliases: readonly string[];

  constructor(sql: string, aliases: readonly string[]) {
    this.#sql = sql;
    this.#aliases = aliases;
  }

  outermost(query: QueryBlock, inputs: Degrees): void {
    const known = this.#withCtes(query, inputs);
    for (const select of query.selects) {
      if (this.#select(select, known) === 1) continue;
      const what = 'a SELECT that does not read the changes input';
      throw new TidemarkError('SQL_INVALID', `${what}: each branch returns rows with their _w`);
    }
  }

  #withCtes(query: QueryBlock, outer: Degrees): Degrees {
    const known = new Map(outer);
    for (const { name, at, query: inner } of query.ctes) {
      if (known.has(name.toLowerCase()))
        throw refuse(this.#sql, at, `WITH ${name}: an input or WITH has this name already`);
      known.set(name.toLowerCase(), this.#query(inner, known));
    }
    return known;
  }

  #query(query: QueryBlock, outer: Degrees): number {
    const known = this.#withCtes(query, outer);
    const [first = 0, ...rest] = query.selects.map((select) => this.#select(select, known));
    if (rest.every((degree) => degree === first)) return first;
    const what = 'one branch of a UNION ALL reads the changes and another does not';
    throw new TidemarkError('SQL_INVALID', `${what}: its rows would be added again in every window`);
  }

  #select(select: SelectBlock, known: Degrees): number {
    for (const { at, query } of select.inner) {
      if (this.#query(query, known) === 0) continue;
      throw unsupported(this.#sql, at, `a subquery in an expression reads the changes: ${LATER}`);
    }
    let degree = 0;
    for (const source of select.sources) {
      degree +=
        source.kind === 'query'
          ? this.#query(source.query, known)
          : this.#table(source.name, source.at, known);
      if (degree > 1)
        throw unsupported(this.#sql, source.at, `the changes are joined with themselves: ${LATER}`);
    }
    return degree;
  }

  #table(name: string, at: Token, known: Degrees): number {
    const degree = known.get(name.toLowerCase());
    if (degree !== undefined) return degree;
    const names = [...new Set([...this.#aliases, ...known.keys()])];
    throw refuse(this.#sql, at, `${name} is no input of this report; ${suggestion(name, names)}`);
  }
}
