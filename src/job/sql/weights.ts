/**
 * The weight of a result row is the product of the weights of the change rows that it comes from, and nothing
 * else is made of a weight (design 6.1). With a weight left out, changed or asked about, a row that went
 * would not take away what it added.
 */
import { must, mutated } from '../../base/index.ts';
import type { EngineKind, Token } from '../../sql/index.ts';
import type { JobInput } from '../file/job-file.ts';
import { keyword, readBlocks, refuse, type QueryBlock, type SelectBlock } from './sql-blocks.ts';

/** A table as a SELECT reads it. */
interface Weighted {
  /** Whether its rows come from change rows. */
  readonly changes: boolean;
  /** Whether it has a column `_w`, the weight of its rows. */
  readonly weighted: boolean;
}

/** In which place of a SELECT's items its weight stands. */
interface Weighed extends Weighted {
  readonly place: number | undefined;
}

type KnownTables = ReadonlyMap<string, Weighted>;

interface ReadSource extends Weighted {
  readonly as: string;
}

const WEIGHT = '_w';
const UNWEIGHTED: Weighted = { changes: false, weighted: false };

/**
 * Checks what becomes of the weights. To be asked after `LinearityCheck`: of tables that are not known it
 * says nothing.
 * @throws TidemarkError `SQL_INVALID`, with line and column within the SQL, and what to write instead.
 */
export function checkWeights(sql: string, inputs: readonly JobInput[], kind: EngineKind): void {
  if (mutated('job.weightsAsWritten')) return;
  const { query, tokens } = readBlocks(sql, kind);
  const check = new WeightCheck(sql);
  const known = inputs.map(({ alias, kind: of }): [string, Weighted] => [
    key(alias),
    { changes: of === 'changes', weighted: of !== 'dimension' },
  ]);
  check.query(query, new Map(known));
  const misread = tokens.find((token) => bare(token) === WEIGHT && !check.passedOn.has(token));
  if (misread === undefined) return;
  const what = `${WEIGHT} is the weight of a change: a SELECT returns it as it stands`;
  throw refuse(sql, misread, `${what}, and reads it nowhere else`);
}

class WeightCheck {
  /** The tokens that pass a weight on. */
  readonly passedOn = new Set<Token>();
  readonly #sql: string;

  constructor(sql: string) {
    this.#sql = sql;
  }

  /** `place` is where the weight stands if something outside says so: other branches, or a list of names. */
  query(query: QueryBlock, outer: KnownTables, place?: number, isBranch = false): Weighed {
    const known = this.#withCtes(query, outer);
    const [first, ...others] = query.selects;
    if (first === undefined) return { ...UNWEIGHTED, place };
    const found = this.#select(first, known, place, isBranch || others.length > 0);
    for (const select of others) {
      const next = this.#select(select, known, found.place, true);
      if (!found.weighted || next.weighted) continue;
      throw refuse(this.#sql, firstOf(select), `a branch returns no ${WEIGHT} and another does`);
    }
    return found;
  }

  #withCtes(query: QueryBlock, outer: KnownTables): KnownTables {
    const known = new Map(outer);
    for (const { name, query: inner, columns } of query.ctes) {
      const named = columns?.findIndex((column) => bare(column) === WEIGHT);
      const found = this.query(inner, known, named);
      const column = columns?.[named ?? -1];
      if (found.weighted && column !== undefined) this.passedOn.add(column);
      known.set(key(name), found);
    }
    return known;
  }

  #select(select: SelectBlock, known: KnownTables, place: number | undefined, isUnion: boolean): Weighed {
    const [whole] = select.sources;
    if (select.items.length === 0 && whole?.kind === 'query') {
      return this.query(whole.query, known, place, isUnion);
    }
    for (const { query } of select.inner) this.query(query, known);
    const sources = select.sources.map((source): ReadSource => ({
      ...(source.kind === 'query'
        ? this.query(source.query, known)
        : (known.get(key(source.name)) ?? UNWEIGHTED)),
      as: source.as,
    }));
    const changes = sources.some((source) => source.changes);
    const places = place === undefined ? weightPlaces(select, sources) : [place];
    const [at] = places;
    const item = select.items[at ?? -1] ?? [];
    const isExact = place !== undefined || isUnion;
    const hasStar = select.items.some(isStar);
    const isPassed = isStar(item) ? passesAll(item, sources) : this.#isProduct(item, sources);
    const weighted = places.length === 1 && isPassed && !(isExact && hasStar);
    if (!changes || weighted) return { changes, weighted, place: at };
    throw refuse(this.#sql, item[0] ?? firstOf(select), whatToReturn(sources, isExact && hasStar));
  }

  #isProduct(item: readonly Token[], sources: readonly ReadSource[]): boolean {
    const factors = factorsOf(item);
    if (!areWeights(factors, sources)) return false;
    for (const token of item) if (bare(token) === WEIGHT) this.passedOn.add(token);
    return true;
  }
}

const firstOf = ({ body }: SelectBlock): Token => must(body[0], 'SELECT');

function whatToReturn(sources: readonly ReadSource[], hasStar: boolean): string {
  const changing = sources.filter(({ changes }) => changes);
  const product = changing.map(({ as }) => (as === '' ? WEIGHT : `${as}.${WEIGHT}`)).join(' * ');
  const what = changing.length > 1 ? 'a SELECT that joins changes' : 'a SELECT of changes';
  const names = hasStar ? ', and in a UNION ALL or a WITH of named columns it names them all: no *' : '';
  return `${what} returns ${product} AS ${WEIGHT}, once and as it stands${names}`;
}

const key = (name: string): string => name.toLowerCase();
const isQuoted = ({ kind }: Token): boolean => kind === 'name' || kind === 'string';
const bare = (token: Token): string => key(isQuoted(token) ? token.text.slice(1, -1) : token.text);

/** `*` or `t.*`. */
function isStar(item: readonly Token[]): boolean {
  if (item.at(-1)?.text !== '*') return false;
  return item.length === 1 || (item.length === 3 && item[1]?.text === '.');
}

function starOf(item: readonly Token[], sources: readonly ReadSource[]): readonly ReadSource[] {
  const [table] = item;
  if (table === undefined || item.length === 1) return sources;
  return sources.filter(({ as }) => key(as) === bare(table));
}

/** A star gives every table's `_w`: of more than one it would be several columns. */
function passesAll(item: readonly Token[], sources: readonly ReadSource[]): boolean {
  const weighted = starOf(item, sources).filter((source) => source.weighted);
  const factors = weighted.map(({ as }) => key(as));
  return weighted.length === 1 && areWeights(factors, sources);
}

/** The places of all items that become a column `_w`. */
function weightPlaces({ items }: SelectBlock, sources: readonly ReadSource[]): number[] {
  return [...items.keys()].filter((at) => {
    const item = items[at] ?? [];
    if (isStar(item)) return starOf(item, sources).some(({ weighted }) => weighted);
    const last = item.at(-1);
    return last !== undefined && bare(last) === WEIGHT;
  });
}

/** Whether these are the weights of each changing source, once, and of no table that has none. */
function areWeights(
  factors: readonly (string | undefined)[] | undefined,
  sources: readonly ReadSource[],
): boolean {
  if (factors === undefined || factors.length === 0) return false;
  const weighted = sources.filter((source) => source.weighted);
  // Without a table before it, it is the only one that there is.
  if (factors.includes(undefined)) return factors.length === 1 && weighted.length === 1;
  const isOnce = (as: string): boolean => factors.filter((factor) => factor === as).length === 1;
  return (
    factors.every((factor) => weighted.filter(({ as }) => key(as) === factor).length === 1) &&
    weighted.every(({ as, changes }) => isOnce(key(as)) || (!changes && !factors.includes(key(as))))
  );
}

/** Whose `_w` an item multiplies with each other; undefined if it is anything else. */
function factorsOf(item: readonly Token[]): (string | undefined)[] | undefined {
  const product = withoutName(item);
  const [only] = product;
  if (only !== undefined && product.length === 1) return isWeight(only) ? [undefined] : undefined;
  const factors: string[] = [];
  for (let at = 0; at < product.length; at += 4) {
    const [table, dot, weight, times] = product.slice(at, at + 4);
    if (table === undefined || weight === undefined || dot?.text !== '.') return undefined;
    if (!isWeight(weight) || (table.kind !== 'word' && table.kind !== 'name')) return undefined;
    if (times !== undefined && times.text !== '*') return undefined;
    if (times !== undefined && at + 4 === product.length) return undefined;
    factors.push(bare(table));
  }
  return factors;
}

const isWeight = (token: Token): boolean => token.kind !== 'string' && bare(token) === WEIGHT;

/** An item without the name that it is given. */
function withoutName(item: readonly Token[]): readonly Token[] {
  const before = item.at(-2);
  if (before === undefined) return item;
  if (keyword(before) === 'AS') return item.slice(0, -2);
  return before.kind === 'word' || before.kind === 'name' ? item.slice(0, -1) : item;
}
