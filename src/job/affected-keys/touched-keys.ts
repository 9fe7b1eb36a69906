/**
 * Which keys of a report of class `affectedKeys` a changed row can touch, as far as the text of its SQL shows
 * it. It does where each row of the result comes from rows of one key alone: one SELECT (or a union of them)
 * over inputs by name, whose GROUP BY and PARTITION BY hold the keys. What it does not show is asked of the
 * author, never guessed.
 */
import type { Token } from '../../sql/index.ts';
import type { JobInput } from '../file/job-file.ts';
import { equalitiesOf, hasOuterJoin, nameOf, type ColumnRef, type Equality } from '../sql/join-equalities.ts';
import { clauseAt, isByKey, keyItem, type KeyItem } from './keyed-select.ts';
import { keyword, type QueryBlock, type SelectBlock, type SourceRef } from '../sql/sql-blocks.ts';

/** What is known of a captured input. */
export interface Touched {
  readonly alias: string;
  /** The SELECT of the keys that its changed rows touch; undefined if the text does not show it. */
  readonly sql: string | undefined;
  /** Its column for each key, if it has them all: only its rows of touched keys matter then. */
  readonly columns: readonly string[] | undefined;
  /**
   * Set if a key is a column of another table and only equal to one of this: `sql` is right then if the
   * two are of one type, else this is (undefined if the text does not show it).
   */
  readonly linked?: { readonly otherwise: string | undefined };
}

interface Asked {
  readonly sql: string;
  readonly inputs: readonly JobInput[];
  /** The names of the keys. */
  readonly keys: readonly string[];
}

/** Returns what the text shows of each captured input, or undefined if it shows nothing of any. */
export function touchedKeys(report: Asked, query: QueryBlock): readonly Touched[] | undefined {
  const reader = new TouchedReader(report);
  if (query.ctes.length > 0) return undefined;
  const places = keyPlaces(query.selects[0], report.keys);
  if (places === undefined) return undefined;
  const branches = query.selects.map((select) => reader.select(select, places));
  if (branches.includes(undefined)) return undefined;
  return captured(report.inputs).map(({ alias }) => {
    const found = branches.flatMap((branch) => branch?.filter((one) => one.alias === alias) ?? []);
    const columns = new Set(found.map((one) => one.columns?.join(' ')));
    const otherwise = allOf(found.map(({ sql, linked }) => (linked === undefined ? sql : linked.otherwise)));
    return {
      alias,
      sql: allOf(found.map(({ sql }) => sql)),
      columns: columns.size === 1 ? found[0]?.columns : undefined,
      ...(found.some(({ linked }) => linked !== undefined) ? { linked: { otherwise } } : {}),
    };
  });
}

/** Whether a query has a table of that name anywhere in it. */
export function readsTable(query: QueryBlock, name: string): boolean {
  return (
    query.ctes.some((cte) => readsTable(cte.query, name)) ||
    query.selects.some(
      ({ inner, sources }) =>
        inner.some((one) => readsTable(one.query, name)) ||
        sources.some((source) =>
          source.kind === 'query'
            ? readsTable(source.query, name)
            : source.name.toLowerCase() === name.toLowerCase(),
        ),
    )
  );
}

function allOf(texts: readonly (string | undefined)[]): string | undefined {
  return texts.includes(undefined) ? undefined : [...new Set(texts)].join('\nUNION ALL\n');
}

export const captured = (inputs: readonly JobInput[]): readonly JobInput[] =>
  inputs.filter(({ kind }) => kind !== 'dimension');

/** Position of each key among the items of the first SELECT, whose names are those of the result. */
function keyPlaces(first: SelectBlock | undefined, keys: readonly string[]): number[] | undefined {
  const names = first?.items.map((item) => nameOf(item.at(-1))) ?? [];
  const places = keys.map((key) => names.indexOf(key.toLowerCase()));
  return places.includes(-1) || first?.items.some(isStar) === true ? undefined : places;
}

const isStar = (item: readonly Token[]): boolean => item.at(-1)?.text === '*';

/** Both engines take it for a name. */
const quoted = (name: string): string => `\`${name}\``;

class TouchedReader {
  readonly #sql: string;
  readonly #keys: readonly string[];
  readonly #captured: ReadonlySet<string>;

  constructor({ sql, keys, inputs }: Asked) {
    this.#sql = sql;
    this.#keys = keys;
    this.#captured = new Set(captured(inputs).map(({ alias }) => alias));
  }

  select(select: SelectBlock, places: readonly number[]): Touched[] | undefined {
    const items = places.map((place) => keyItem(select.items[place] ?? [], place));
    if (items.some(({ expression }) => expression.length === 0)) return undefined;
    const read = this.#readsOf(select);
    if (read === undefined || !isByKey(select, items)) return undefined;
    const equalities = equalitiesOf(select);
    const onlyInner = !hasOuterJoin(select);
    if (!onlyInner && !hasOnlyLeftJoins(select)) return undefined;
    if (items.some((item) => isOfLeftJoined(item, select))) return undefined;
    return read.map(({ alias, as }) => {
      const columns = items.map((item) => columnOf(item, as, select.sources, equalities));
      const own = columns.every((column) => column !== undefined) ? columns : undefined;
      const ofRows = onlyInner ? this.#ofRows(select, items) : undefined;
      if (own === undefined) return { alias, sql: ofRows, columns: own };
      const isOwn = items.every(({ expression }) => columnRef(expression, select.sources)?.of === as);
      const sql = this.#ofColumns(alias, own);
      return { alias, sql, columns: own, ...(isOwn ? {} : { linked: { otherwise: ofRows } }) };
    });
  }

  /** The captured inputs of a SELECT, each read once and by name; undefined if it reads them otherwise. */
  #readsOf(select: SelectBlock): { readonly alias: string; readonly as: string }[] | undefined {
    const inner = [
      ...select.inner.map(({ query }) => query),
      ...select.sources.flatMap((source) => (source.kind === 'query' ? [source.query] : [])),
    ];
    if (inner.some((query) => this.#readsCaptured(query))) return undefined;
    const read = select.sources.flatMap((source) => {
      const alias = source.kind === 'table' ? this.#aliasOf(source.name) : undefined;
      return alias === undefined ? [] : [{ alias, as: source.as.toLowerCase() }];
    });
    return new Set(read.map(({ alias }) => alias)).size < read.length ? undefined : read;
  }

  #aliasOf(name: string): string | undefined {
    return [...this.#captured].find((alias) => alias.toLowerCase() === name.toLowerCase());
  }

  #readsCaptured(query: QueryBlock): boolean {
    return [...this.#captured].some((alias) => readsTable(query, alias));
  }

  #ofColumns(alias: string, columns: readonly string[]): string {
    const items = columns.map((column, at) => `${quoted(column)} AS ${quoted(this.#keys[at] ?? '')}`);
    return `SELECT ${items.join(', ')} FROM ${quoted(alias)}`;
  }

  /** The keys of the rows that it joins: with its changed rows in place of the input, those that changed. */
  #ofRows({ body }: SelectBlock, items: readonly KeyItem[]): string {
    const keys = items.map(
      ({ expression }, at) => `${this.#text(expression)} AS ${quoted(this.#keys[at] ?? '')}`,
    );
    const from = clauseAt(body, 'FROM');
    const end = body.findIndex(
      (token, at) => at > from && token.depth === body[0]?.depth && AFTER_WHERE.has(keyword(token)),
    );
    return `SELECT ${keys.join(', ')}\n${this.#text(body.slice(from, end < 0 ? undefined : end))}`;
  }

  #text(tokens: readonly Token[]): string {
    return this.#sql.slice(tokens[0]?.start ?? 0, tokens.at(-1)?.end ?? 0);
  }
}

const AFTER_WHERE: ReadonlySet<string> = new Set(['GROUP', 'HAVING', 'ORDER', 'LIMIT', 'WINDOW', 'FOR']);
/** Beside them only what joins rows that are there; nothing in parentheses, whose order of joins differs. */
function hasOnlyLeftJoins({ body, sources }: SelectBlock): boolean {
  const depth = body[0]?.depth ?? 0;
  const own = body.filter((token) => token.depth === depth);
  if (own.some((token) => ['RIGHT', 'FULL', 'NATURAL', 'USING'].includes(keyword(token)))) return false;
  return sources.every(({ at, kind }) => kind === 'query' || at.depth === depth);
}

/** Whether a key is of a table that may have no row: changes there move rows to the key NULL and from it. */
function isOfLeftJoined({ expression }: KeyItem, { body, sources }: SelectBlock): boolean {
  const of = columnRef(expression, sources)?.of;
  const at = sources.find(({ as }) => as.toLowerCase() === of)?.at;
  if (at === undefined) return false;
  return body.some((token, index) => {
    if (keyword(token) !== 'LEFT') return false;
    const joins = keyword(body[index + 1]) === 'OUTER' ? index + 2 : index + 1;
    return keyword(body[joins]) === 'JOIN' && body[joins + 1]?.start === at.start;
  });
}

/**
 * The column of an input that holds a key, itself or by an equality that holds wherever the input has a row.
 */
function columnOf(
  { expression }: KeyItem,
  as: string,
  sources: readonly SourceRef[],
  equalities: readonly Equality[],
): string | undefined {
  const start = columnRef(expression, sources);
  if (start === undefined) return undefined;
  const reached = [start];
  for (const one of reached) {
    if (one.of === as) return one.column;
    for (const [left, right] of equalities) {
      for (const [from, to] of [
        [left, right],
        [right, left],
      ] as const) {
        if (isSame(from, one) && !reached.some((known) => isSame(known, to))) reached.push(to);
      }
    }
  }
  return undefined;
}

const isSame = (one: ColumnRef, other: ColumnRef): boolean =>
  one.of === other.of && one.column === other.column;

/** `a.x`, or `x` where there is one table only. */
function columnRef(expression: readonly Token[], sources: readonly SourceRef[]): ColumnRef | undefined {
  const [first, dot, column, ...more] = expression;
  if (dot === undefined) {
    const [only, ...others] = sources;
    const name = nameOf(first);
    return only === undefined || others.length > 0 || name === ''
      ? undefined
      : { of: only.as.toLowerCase(), column: name };
  }
  if (dot.text !== '.' || more.length > 0 || nameOf(column) === '') return undefined;
  return { of: nameOf(first), column: nameOf(column) };
}
