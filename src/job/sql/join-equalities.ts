/**
 * Which columns of a SELECT are surely equal in each of its rows: conditions `a.x = b.y` that its ON and
 * WHERE join by AND, and USING. What is written in another way is not seen, never guessed.
 */
import type { Token } from '../../sql/index.ts';
import { keyword, type SelectBlock } from './sql-blocks.ts';

/** Names are lower-cased and without quotes. */
export interface ColumnRef {
  readonly of: string;
  readonly column: string;
}

export type Equality = readonly [ColumnRef, ColumnRef];

const CLAUSE_ENDS: ReadonlySet<string> = new Set([
  ...['ON', 'USING', 'WHERE', 'JOIN', 'INNER', 'CROSS', 'STRAIGHT_JOIN'],
  ...['GROUP', 'HAVING', 'ORDER', 'LIMIT', 'WINDOW', 'FOR'],
]);
/** With one of these beside it, a condition need not hold. */
const ALTERNATIVES: ReadonlySet<string> = new Set(['OR', 'XOR']);

/**
 * Beside an outer join, the condition of an ON holds only where the table that it joins has a row: there, an
 * equality counts only if that table is one side of it.
 */
export function equalitiesOf(select: SelectBlock): Equality[] {
  const { body } = select;
  const outer = hasOuterJoin(select);
  const depth = body[0]?.depth ?? 0;
  const found: Equality[] = [];
  for (const [at, token] of body.entries()) {
    if (token.depth !== depth) continue;
    const word = keyword(token);
    if (word === 'USING' && !outer) found.push(...usingEqualities(select, at));
    if (word !== 'ON' && word !== 'WHERE') continue;
    const end = body.findIndex((next, index) => index > at && next.depth === depth && endsClause(next));
    const equal = conjuncts(body.slice(at + 1, end < 0 ? undefined : end)).flatMap(equalityOf);
    const joined = outer && word === 'ON' ? joinedBefore(select, token) : undefined;
    found.push(...equal.filter((sides) => joined === undefined || sides.some(({ of }) => of === joined)));
  }
  return found;
}

const OUTER_JOINS: ReadonlySet<string> = new Set(['LEFT', 'RIGHT', 'FULL', 'NATURAL']);

/** Whether a SELECT keeps rows of one table that meet none of another. */
export function hasOuterJoin({ body }: SelectBlock): boolean {
  return body.some((token, at) => {
    const next = keyword(body[at + 1]);
    return OUTER_JOINS.has(keyword(token)) && body[at + 1]?.text !== '(' && next !== '';
  });
}

/** What the table that an ON joins is called. */
function joinedBefore({ sources }: SelectBlock, on: Token): string | undefined {
  return sources
    .filter(({ at }) => at.start < on.start)
    .at(-1)
    ?.as.toLowerCase();
}

const endsClause = (token: Token): boolean => CLAUSE_ENDS.has(keyword(token)) || token.text === ',';

/** The table before USING has each of its columns in common with those that stand before it. */
function usingEqualities({ body, sources }: SelectBlock, at: number): Equality[] {
  const start = body[at]?.start ?? 0;
  const before = sources.filter((source) => source.at.start < start).map(({ as }) => as.toLowerCase());
  const joined = before.pop();
  const open = body[at + 1];
  if (joined === undefined || open?.text !== '(') return [];
  const close = body.findIndex((token, index) => index > at + 1 && token.depth === open.depth);
  const columns = body.slice(at + 2, close).filter(({ kind }) => kind === 'word' || kind === 'name');
  return columns.flatMap((token) => {
    const column = nameOf(token);
    return before.map((of): Equality => [
      { of, column },
      { of: joined, column },
    ]);
  });
}

/** Cuts a condition at each AND that holds for the whole; empty when it offers an alternative. */
function conjuncts(condition: readonly Token[]): (readonly Token[])[] {
  const inner = unwrapped(condition);
  const depth = inner[0]?.depth ?? 0;
  const parts: Token[][] = [[]];
  let cases = 0;
  let between = 0;
  for (const token of inner) {
    const word = token.depth === depth ? keyword(token) : '';
    if (ALTERNATIVES.has(word) && cases === 0) return [];
    if (token.depth === depth && token.text === '|') return [];
    if (word === 'CASE') cases += 1;
    if (word === 'END') cases -= 1;
    if (word === 'BETWEEN') between += 1;
    if (word !== 'AND' || cases > 0) parts.at(-1)?.push(token);
    else if (between > 0) {
      between -= 1;
      parts.at(-1)?.push(token);
    } else parts.push([]);
  }
  return parts.flatMap((part) => (isWrapped(part) ? conjuncts(part) : [part]));
}

function unwrapped(condition: readonly Token[]): readonly Token[] {
  return isWrapped(condition) ? unwrapped(condition.slice(1, -1)) : condition;
}

/** Whether one pair of parentheses holds all of it. */
function isWrapped(condition: readonly Token[]): boolean {
  const [first] = condition;
  if (first?.text !== '(' || condition.at(-1)?.text !== ')') return false;
  return condition.filter(({ depth }) => depth === first.depth).length === 2;
}

/** `a . x = b . y` and nothing else. */
function equalityOf(condition: readonly Token[]): Equality[] {
  const [left, leftDot, leftColumn, equals, right, rightDot, rightColumn, ...more] = condition;
  if (leftDot?.text !== '.' || equals?.text !== '=' || rightDot?.text !== '.' || more.length > 0) return [];
  const [of, column, ofRight, columnRight] = [left, leftColumn, right, rightColumn].map(nameOf);
  if (of === undefined || column === undefined) return [];
  if (ofRight === undefined || columnRight === undefined || columnRight === '') return [];
  return [
    [
      { of, column },
      { of: ofRight, column: columnRight },
    ],
  ];
}

/** A name as it is compared; the empty text, which names nothing, for any other token. */
export function nameOf(token: Token | undefined): string {
  if (token === undefined) return '';
  if (token.kind === 'name') return token.text.slice(1, -1).toLowerCase();
  return token.kind === 'word' ? token.text.toLowerCase() : '';
}
