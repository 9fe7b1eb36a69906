/**
 * Whether each row of a SELECT comes from rows of one key alone: what its GROUP BY, its window functions and
 * its other clauses say of it.
 */
import type { Token } from '../../sql/index.ts';
import { nameOf } from '../sql/join-equalities.ts';
import { functionName, keyword, type QueryBlock, type SelectBlock } from '../sql/sql-blocks.ts';
import { AGGREGATES } from '../sql/sql-contract.ts';

/** A key as an item of a SELECT says it: without the name that it is given. */
export interface KeyItem {
  readonly expression: readonly Token[];
  readonly name: string;
  readonly place: number;
}

/** Rows of other keys decide what these leave. */
const OVER_ALL: ReadonlySet<string> = new Set([
  'LIMIT',
  'WINDOW',
  'FOR',
  'FETCH',
  'OFFSET',
  'ROLLUP',
  'CUBE',
]);

/** Where a clause of a SELECT begins; -1 if it has none. */
export function clauseAt(body: readonly Token[], word: string): number {
  const depth = body[0]?.depth ?? 0;
  return body.findIndex((token) => token.depth === depth && keyword(token) === word);
}

const MODIFIERS: ReadonlySet<string> = new Set(['DISTINCT', 'DISTINCTROW', 'ALL']);

/** Reads an item of a SELECT, with or without DISTINCT before it. */
export function keyItem(selected: readonly Token[], place: number): KeyItem {
  const item = MODIFIERS.has(keyword(selected[0])) ? selected.slice(1) : selected;
  const name = nameOf(item.at(-1));
  const before = item.at(-2);
  if (before === undefined || before.text === '.') return { expression: item, name, place };
  if (keyword(before) === 'AS') return { expression: item.slice(0, -2), name, place };
  const isOperand = before.kind === 'symbol' && before.text !== ')';
  return { expression: isOperand ? item : item.slice(0, -1), name, place };
}

/** Whether groups and window partitions hold rows of one key each. */
export function isByKey({ body, inner, items: selected }: SelectBlock, items: readonly KeyItem[]): boolean {
  const depth = body[0]?.depth ?? 0;
  const own = body.filter((token) => !inner.some(({ query }) => isWithin(token, query)));
  if (own.some((token) => token.depth === depth && OVER_ALL.has(keyword(token)))) return false;
  if (!own.every((token, at) => keyword(token) !== 'OVER' || isPartition(own, at, items))) return false;
  const group = clauseAt(body, 'GROUP');
  if (group < 0) {
    const aggregates = own.some(
      (_token, at) => AGGREGATES.has(functionName(own, at)) && !isWindowed(own, at + 1),
    );
    return !aggregates && clauseAt(body, 'HAVING') < 0;
  }
  const grouped = listAfter(body, group + 2, depth);
  return items.every((item) =>
    grouped.some(
      (found) =>
        textOf(found) === textOf(item.expression) ||
        (found.length === 1 && nameOf(found[0]) === item.name && isAliasOnly(item, selected)) ||
        (found.length === 1 && found[0]?.kind === 'number' && found[0].text === String(item.place + 1)),
    ),
  );
}

/** A name that is given to one item means that item in a GROUP BY. */
const isAliasOnly = (item: KeyItem, selected: SelectBlock['items']): boolean =>
  selected.filter((one) => nameOf(one.at(-1)) === item.name).length === 1;

function isWithin(token: Token, query: QueryBlock): boolean {
  return query.selects.some(({ body }) => {
    const [first] = body;
    return first !== undefined && token.start >= first.start && token.end <= (body.at(-1)?.end ?? 0);
  });
}

function isWindowed(tokens: readonly Token[], open: number): boolean {
  const depth = tokens[open]?.depth;
  const close = tokens.findIndex((token, at) => at > open && token.depth === depth && token.text === ')');
  return keyword(tokens[close + 1]) === 'OVER';
}

/** `OVER (PARTITION BY ...)` with every key in it. */
function isPartition(tokens: readonly Token[], over: number, items: readonly KeyItem[]): boolean {
  if (tokens[over + 1]?.text !== '(' || keyword(tokens[over + 2]) !== 'PARTITION') return false;
  const found = listAfter(tokens, over + 4, tokens[over + 2]?.depth ?? 0).map(textOf);
  return items.every(({ expression }) => found.includes(textOf(expression)));
}

/** The expressions of a list, up to the word that ends it at its depth. */
function listAfter(tokens: readonly Token[], from: number, depth: number): Token[][] {
  const list: Token[][] = [[]];
  for (const token of tokens.slice(from)) {
    if (token.depth < depth || (token.depth === depth && ENDS_LIST.has(keyword(token)))) break;
    if (token.depth === depth && token.text === ',') list.push([]);
    else list.at(-1)?.push(token);
  }
  return list;
}

const ENDS_LIST: ReadonlySet<string> = new Set([
  ...['HAVING', 'ORDER', 'LIMIT', 'WINDOW', 'ROWS', 'RANGE', 'GROUPS', 'WITH', 'FOR', 'UNION'],
]);

const textOf = (tokens: readonly Token[]): string =>
  tokens.map((token) => (token.kind === 'string' ? token.text : nameOf(token) || token.text)).join(' ');
