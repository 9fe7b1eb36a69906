/**
 * Finds out how a report's SQL is put together: which SELECTs there are, and which tables each reads. It is
 * no parser: of expressions it knows only where they nest. What is not understood is refused, never guessed.
 */
import { TidemarkError } from '../../base/index.ts';
import { textPosition, tokenize, type EngineKind, type Token } from '../../sql/index.ts';

/** A SELECT or a UNION ALL of them, with the common table expressions before it. */
export interface QueryBlock {
  readonly ctes: readonly {
    readonly name: string;
    readonly at: Token;
    readonly query: QueryBlock;
    /** The names that its columns are given, if they are given others than its SELECT does. */
    readonly columns: readonly Token[] | undefined;
  }[];
  readonly selects: readonly SelectBlock[];
}

export interface SelectBlock {
  /** All of it, from SELECT on. */
  readonly body: readonly Token[];
  /** What it selects, item by item. */
  readonly items: readonly (readonly Token[])[];
  /** What stands in its FROM clause. */
  readonly sources: readonly SourceRef[];
  /** Subqueries that stand in expressions. */
  readonly inner: readonly { readonly at: Token; readonly query: QueryBlock }[];
}

/** `as` is what its columns are qualified with. */
export type SourceRef =
  | { readonly kind: 'table'; readonly name: string; readonly at: Token; readonly as: string }
  | { readonly kind: 'query'; readonly at: Token; readonly query: QueryBlock; readonly as: string };

/** Functions whose arguments hold the word FROM. */
const FROM_FUNCTIONS: ReadonlySet<string> = new Set(['EXTRACT', 'TRIM', 'SUBSTRING', 'SUBSTR', 'OVERLAY']);
/** Words that end a FROM clause. */
const AFTER_FROM: ReadonlySet<string> = new Set([
  'WHERE',
  'GROUP',
  'HAVING',
  'ORDER',
  'LIMIT',
  'WINDOW',
  'FOR',
]);

const SET_OPERATIONS: ReadonlySet<string> = new Set(['UNION', 'INTERSECT', 'EXCEPT', 'MINUS']);

/** Words that may follow a table in a FROM clause and are no name for it. */
const AFTER_TABLE: ReadonlySet<string> = new Set([
  ...['JOIN', 'INNER', 'CROSS', 'LEFT', 'RIGHT', 'FULL', 'NATURAL', 'STRAIGHT_JOIN', 'OUTER'],
  ...[
    'ON',
    'USING',
    'UNION',
    'INTERSECT',
    'EXCEPT',
    'MINUS',
    'PARTITION',
    'USE',
    'FORCE',
    'IGNORE',
    'INDEXED',
    'NOT',
  ],
]);

export function keyword(token: Token | undefined): string {
  return token?.kind === 'word' ? token.text.toUpperCase() : '';
}

/** The function that is called at a token, in capitals; a quoted name is one as well. '' if none is. */
export function functionName(tokens: readonly Token[], at: number): string {
  const token = tokens[at];
  if (token === undefined || tokens[at + 1]?.text !== '(') return '';
  if (token.kind === 'word') return token.text.toUpperCase();
  return token.kind === 'name' || token.kind === 'string' ? token.text.slice(1, -1).toUpperCase() : '';
}

export function refuse(sql: string, at: Token, what: string): TidemarkError {
  return new TidemarkError('SQL_INVALID', `SQL ${textPosition(sql, at.start)}: ${what}`);
}

/** Which set operations there may be: UNION ALL alone, or UNION, INTERSECT and EXCEPT as well. */
export type SetOperations = 'additive' | 'any';

/** @throws TidemarkError `SQL_INVALID`, with line and column within the SQL. */
export function readBlocks(
  sql: string,
  kind: EngineKind,
  operations: SetOperations = 'additive',
): { query: QueryBlock; tokens: readonly Token[] } {
  const tokens = tokenize(sql, kind);
  return { query: new BlockReader(sql, tokens, kind, operations).query(0, tokens.length), tokens };
}

interface Found {
  readonly sources: SourceRef[];
  readonly inner: SelectBlock['inner'][number][];
}

/** Positions are indexes into the tokens; `to` is exclusive. */
class BlockReader {
  readonly #sql: string;
  readonly #tokens: readonly Token[];
  readonly #kind: EngineKind;
  readonly #operations: SetOperations;

  constructor(sql: string, tokens: readonly Token[], kind: EngineKind, operations: SetOperations) {
    this.#sql = sql;
    this.#tokens = tokens;
    this.#kind = kind;
    this.#operations = operations;
  }

  query(from: number, to: number): QueryBlock {
    const ctes: QueryBlock['ctes'][number][] = [];
    let at = from;
    if (this.#word(at) === 'WITH') {
      do {
        const [cte, next] = this.#cte(at + 1, to);
        ctes.push(cte);
        at = next;
      } while (this.#text(at) === ',' && at < to);
    }
    return { ctes, selects: this.#branches(at, to) };
  }

  #cte(from: number, to: number): readonly [QueryBlock['ctes'][number], number] {
    const at = this.#token(from, to);
    if (keyword(at) === 'RECURSIVE') throw refuse(this.#sql, at, 'a recursive WITH cannot be a report');
    let open = from + 1;
    let columns: readonly Token[] | undefined;
    if (this.#text(open) === '(') {
      const end = this.#closing(open);
      columns = this.#tokens.slice(open + 1, end).filter(({ text }) => text !== ',');
      open = end + 1;
    }
    if (this.#word(open) === 'AS') open += 1;
    while (['NOT', 'MATERIALIZED'].includes(this.#word(open))) open += 1;
    if (this.#text(open) !== '(') throw refuse(this.#sql, at, 'WITH name AS (SELECT ...) is expected');
    const close = this.#closing(open);
    return [{ name: this.#name(at), at, query: this.query(open + 1, close), columns }, close + 1];
  }

  /** Cuts at set operations; each branch is a SELECT or a whole query in parentheses. */
  #branches(from: number, to: number): SelectBlock[] {
    const base = this.#token(from, to).depth;
    const selects: SelectBlock[] = [];
    let start = from;
    for (let at = from; at <= to; at += 1) {
      const word = at < to && this.#tokens[at]?.depth === base ? this.#word(at) : '';
      if (at < to && !SET_OPERATIONS.has(word)) continue;
      const isAll = this.#word(at + 1) === 'ALL';
      if (at < to && this.#operations === 'additive') this.#checkAdditive(word, at, isAll);
      selects.push(...this.#branch(start, at));
      start = at + (isAll || this.#word(at + 1) === 'DISTINCT' ? 2 : 1);
    }
    return selects;
  }

  #checkAdditive(word: string, at: number, isAll: boolean): void {
    const token = this.#token(at, this.#tokens.length);
    if (word !== 'UNION') throw refuse(this.#sql, token, `${word} is not additive: only UNION ALL is`);
    if (!isAll) throw refuse(this.#sql, token, 'UNION without ALL drops duplicates: write UNION ALL');
  }

  #branch(from: number, to: number): readonly SelectBlock[] {
    const first = this.#token(from, to);
    if (first.text === '(' && this.#closing(from) === to - 1) {
      const inner = this.query(from + 1, to - 1);
      if (inner.ctes.length === 0) return inner.selects;
      const body = this.#tokens.slice(from, to);
      return [{ body, items: [], sources: [{ kind: 'query', at: first, query: inner, as: '' }], inner: [] }];
    }
    if (keyword(first) !== 'SELECT') throw refuse(this.#sql, first, 'SELECT is expected');
    const found: Found = { sources: [], inner: [] };
    this.#scan(from + 1, to, 'expression', found);
    return [{ ...found, body: this.#tokens.slice(from, to), items: this.#items(from + 1, to, first.depth) }];
  }

  /** Cuts what stands between SELECT and FROM at its commas. */
  #items(from: number, to: number, depth: number): Token[][] {
    const items: Token[][] = [[]];
    for (const token of this.#tokens.slice(from, to)) {
      if (token.depth === depth && keyword(token) === 'FROM') break;
      if (token.depth === depth && token.text === ',') items.push([]);
      else items.at(-1)?.push(token);
    }
    return items;
  }

  /** Walks one level of one SELECT; `mode` says whether the walk begins inside a FROM clause. */
  #scan(from: number, to: number, mode: 'expression' | 'tables' | 'from-function', found: Found): void {
    let inFrom = mode === 'tables';
    let expectTable = inFrom;
    for (let at = from; at < to; at += 1) {
      const token = this.#token(at, to);
      const word = keyword(token);
      if (token.text === '(' && token.kind === 'symbol') {
        const close = this.#closing(at);
        this.#group(at, close, expectTable, found);
        expectTable = false;
        at = close;
      } else if (word === 'FROM' && mode !== 'from-function' && this.#word(at - 1) !== 'DISTINCT') {
        inFrom = true;
        expectTable = true;
      } else if (AFTER_FROM.has(word)) {
        inFrom = false;
        expectTable = false;
      } else if (inFrom && (word === 'JOIN' || word === 'STRAIGHT_JOIN' || token.text === ',')) {
        expectTable = true;
      } else if (expectTable) {
        found.sources.push(this.#table(at, to));
        expectTable = false;
      }
    }
  }

  #group(open: number, close: number, expectTable: boolean, found: Found): void {
    const at = this.#token(open, close);
    if (this.#isQuery(open, close)) {
      const query = this.query(open + 1, close);
      if (expectTable) found.sources.push({ kind: 'query', at, query, as: this.#alias(close + 1) ?? '' });
      else found.inner.push({ at, query });
      return;
    }
    const fromFunction = FROM_FUNCTIONS.has(this.#word(open - 1));
    this.#scan(
      open + 1,
      close,
      expectTable ? 'tables' : fromFunction ? 'from-function' : 'expression',
      found,
    );
  }

  /** Whether parentheses hold a query: SELECT or WITH, or queries in parentheses with UNION between them. */
  #isQuery(open: number, close: number): boolean {
    const first = this.#word(open + 1);
    if (first === 'SELECT' || first === 'WITH') return true;
    if (this.#text(open + 1) !== '(') return false;
    const end = this.#closing(open + 1);
    return (end === close - 1 || SET_OPERATIONS.has(this.#word(end + 1))) && this.#isQuery(open + 1, end);
  }

  #table(at: number, to: number): SourceRef {
    const token = this.#token(at, to);
    if (this.#text(at + 1) === '.') {
      throw refuse(this.#sql, token, 'a report reads its inputs by their alias, not tables of a database');
    }
    const name = this.#name(token);
    return { kind: 'table', name, at: token, as: this.#alias(at + 1) ?? name };
  }

  /** The other name that a table or subquery is given. */
  #alias(at: number): string | undefined {
    const token = this.#tokens[this.#word(at) === 'AS' ? at + 1 : at];
    if (token?.kind === 'name') return this.#name(token);
    const word = keyword(token);
    return word === '' || AFTER_TABLE.has(word) || AFTER_FROM.has(word) ? undefined : token?.text;
  }

  /** The name as the engine sees it, without its quotes. */
  #name(token: Token): string {
    const quoted = token.kind === 'name' || (token.kind === 'string' && this.#kind === 'embedded');
    if (quoted) return token.text.slice(1, -1);
    if (token.kind === 'word') return token.text;
    throw refuse(this.#sql, token, 'a name is expected');
  }

  #closing(open: number): number {
    const { depth } = this.#token(open, this.#tokens.length);
    return this.#tokens.findIndex((token, at) => at > open && token.depth === depth && token.text === ')');
  }

  #token(at: number, to: number): Token {
    const token = at < to ? this.#tokens[at] : undefined;
    if (token !== undefined) return token;
    const last = this.#tokens.at(-1);
    if (last === undefined) throw new TidemarkError('SQL_INVALID', 'the SQL is empty');
    throw refuse(this.#sql, this.#tokens[at] ?? last, 'the SQL ends too early here');
  }

  #word(at: number): string {
    return keyword(this.#tokens[at]);
  }

  #text(at: number): string {
    return this.#tokens[at]?.text ?? '';
  }
}
