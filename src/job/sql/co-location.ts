/**
 * Whether rows that a report joins surely lie on one store shard (design 6.2). Each part of a report sees one
 * shard only, so that a join of two sharded tables must make their shard keys equal, and a replicated table
 * may stand beside a sharded one but never alone: each part would add its rows again.
 *
 * Refused is what the text does not show, not only what is wrong.
 */
import { TidemarkError, mutated } from '../../base/index.ts';
import { parseColumnType, textPosition, type EngineKind, type Token } from '../../sql/index.ts';
import { equalitiesOf, nameOf } from './join-equalities.ts';
import type { JobReport } from '../file/job-file.ts';
import type { AffectedKeys, CapturedTable } from '../model.ts';
import { readBlocks, type QueryBlock, type SelectBlock, type SourceRef } from './sql-blocks.ts';

const NEXT =
  'Join them on the shard keys as a.key = b.key, name such columns as shardKey, or write replicated: true.';

/**
 * Checks a report that is computed on several shards. `tables` are those that its source captures.
 * @throws TidemarkError `REPORT_NOT_COLOCATED` with the place in the SQL and what to write.
 */
export function checkCoLocation(
  report: Pick<JobReport, 'name' | 'inputs' | 'sql'>,
  tables: readonly CapturedTable[],
  kind: EngineKind,
): void {
  const { spread, check } = spreadOfSelect(report, tables, kind);
  if (!spread.sharded) {
    throw check.refuse(undefined, 'reads replicated tables only, and each shard would add their rows again');
  }
}

/**
 * Answers whether a key of an `affectedKeys` report lies on one shard with all rows that it comes from:
 * whether the keys contain the shard key, in the SQL and in each SELECT of touched keys, and groups are seen
 * to hold it.
 * @throws TidemarkError `REPORT_NOT_COLOCATED` for a join whose rows may lie on different shards.
 */
export function keysOnShards(
  report: Pick<JobReport, 'name' | 'inputs' | 'sql' | 'keys'>,
  { touched, narrowed }: AffectedKeys,
  tables: readonly CapturedTable[],
  kind: EngineKind,
): boolean {
  const onShards = [report.sql, ...touched.map(({ sql }) => sql)].map((sql) => {
    const { spread } = spreadOfSelect({ ...report, sql }, tables, kind);
    return report.keys.filter(({ name }) => spread.keys.has(name.toLowerCase())).map(({ name }) => name);
  });
  const [first = [], ...rest] = onShards;
  return narrowed.length > 0 && first.some((name) => rest.every((names) => names.includes(name)));
}

function spreadOfSelect(
  report: Pick<JobReport, 'name' | 'inputs' | 'sql'>,
  tables: readonly CapturedTable[],
  kind: EngineKind,
): { readonly spread: Spread; readonly check: CoLocationCheck } {
  const known = new Map<string, Spread>();
  for (const { alias, kind: input, table } of report.inputs) {
    const captured = tables.find((one) => one.table === table);
    known.set(
      alias.toLowerCase(),
      input === 'dimension' || captured === undefined ? LOCAL : spreadOf(captured),
    );
  }
  const check = new CoLocationCheck(report);
  return { spread: check.query(readBlocks(report.sql, kind, 'any').query, known), check };
}

/** How the rows of a table are spread over the shards. */
interface Spread {
  /** False: every shard has all of them. */
  readonly sharded: boolean;
  /** Columns, by name, that hold the value by which they are spread; the type of that value. */
  readonly keys: ReadonlyMap<string, string>;
}

const LOCAL: Spread = { sharded: false, keys: new Map() };

function spreadOf({ shardKey, columns }: CapturedTable): Spread {
  if (shardKey === null) return LOCAL;
  const type = columns.find(({ name }) => name === shardKey)?.type ?? '';
  return { sharded: true, keys: new Map([[shardKey.toLowerCase(), hashedType(type)]]) };
}

/** Values of one such type that are equal have one slot; lengths and widths do not matter to it. */
function hashedType(type: string): string {
  const { kind } = parseColumnType(type);
  return kind === 'BIGINT' || kind === 'TEXT' || kind === 'BYTES' ? kind : type;
}

interface Joined extends Spread {
  readonly as: string;
  readonly at: Token;
}

type Known = ReadonlyMap<string, Spread>;

class CoLocationCheck {
  readonly #report: Pick<JobReport, 'name' | 'sql'>;

  constructor(report: Pick<JobReport, 'name' | 'sql'>) {
    this.#report = report;
  }

  refuse(at: Token | undefined, what: string): TidemarkError {
    const { name, sql } = this.#report;
    const place = at === undefined ? 'a SELECT' : `${textPosition(sql, at.start)}:`;
    return new TidemarkError('REPORT_NOT_COLOCATED', `reports.${name}.sql: SQL ${place} ${what}`, {
      next: NEXT,
    });
  }

  query(query: QueryBlock, outer: Known): Spread {
    const known = new Map(outer);
    for (const { name, query: inner, columns } of query.ctes) {
      const spread = this.query(inner, known);
      known.set(name.toLowerCase(), columns === undefined ? spread : { ...spread, keys: new Map() });
    }
    const spreads = query.selects.map((select) => this.#select(select, known));
    const [first = LOCAL, ...more] = spreads;
    if (more.some(({ sharded }) => sharded !== first.sharded)) {
      const [local] = query.selects.filter((_select, at) => spreads[at]?.sharded === false);
      const what = 'a branch reads replicated tables only, and each shard would add its rows again';
      throw this.refuse(local?.body[0], what);
    }
    // By name in all branches: a branch that has the key elsewhere, or under another name, shows nothing.
    const keys = [...first.keys].filter(([name, type]) => more.every((one) => one.keys.get(name) === type));
    return {
      sharded: first.sharded,
      keys: more.length === 0 || samePlaces(query) ? new Map(keys) : new Map(),
    };
  }

  #select(select: SelectBlock, known: Known): Spread {
    for (const { at, query } of select.inner) {
      if (!this.query(query, known).sharded) continue;
      throw this.refuse(at, 'a subquery in an expression reads a sharded table: join it instead');
    }
    const sources = select.sources.map((source): Joined => ({
      ...this.#source(source, known),
      as: source.as.toLowerCase(),
      at: source.at,
    }));
    const sharded = sources.filter((source) => source.sharded);
    this.#checkJoined(select, sharded);
    return { sharded: sharded.length > 0, keys: exportedKeys(select, sources) };
  }

  #source(source: SourceRef, known: Known): Spread {
    if (source.kind === 'query') return this.query(source.query, known);
    return known.get(source.name.toLowerCase()) ?? LOCAL;
  }

  /** Each of the sharded tables is led to from the first by equal shard keys. */
  #checkJoined(select: SelectBlock, sharded: readonly Joined[]): void {
    const [first, ...rest] = sharded;
    if (first === undefined || rest.length === 0) return;
    const equalities = equalitiesOf(select);
    const linked = (left: Joined, right: Joined): boolean =>
      equalities.some(
        ([a, b]) =>
          (isKeyOf(a.column, a.of, left) && isKeyOf(b.column, b.of, right) && sameType(a, left, b, right)) ||
          (isKeyOf(b.column, b.of, left) && isKeyOf(a.column, a.of, right) && sameType(b, left, a, right)),
      );
    const reached = new Set([first]);
    for (const one of reached) {
      for (const other of rest) if (linked(one, other)) reached.add(other);
    }
    const missing = rest.find((one) => !reached.has(one));
    if (missing === undefined || mutated('job.joinsAcrossShards')) return;
    const keys = [first, missing].map(({ as, keys: of }) => `${as}.${[...of.keys()][0] ?? '(shard key)'}`);
    const what = `joined without ${keys.join(' = ')} by AND, of one type`;
    throw this.refuse(missing.at, `${missing.as} is ${what}: rows may lie on different shards`);
  }
}

const isKeyOf = (column: string, of: string, joined: Joined): boolean =>
  joined.as === of && joined.keys.has(column);

function sameType(
  left: { readonly column: string },
  leftOf: Joined,
  right: { readonly column: string },
  rightOf: Joined,
): boolean {
  return leftOf.keys.get(left.column) === rightOf.keys.get(right.column);
}

/** Whether the branches of a UNION ALL name their columns alike, so that a name means one place in all. */
function samePlaces({ selects }: QueryBlock): boolean {
  const names = selects.map(({ items }) => items.map((item) => exportedName(item)).join());
  return names.every((name) => name === names[0] && !name.includes('*'));
}

/** The columns of a result that are a shard key as it stands: `a.key`, `a.key AS name`, `*`. */
function exportedKeys({ items }: SelectBlock, sources: readonly Joined[]): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  const [only, ...others] = sources;
  for (const item of items) {
    const words = item.map((token) =>
      token.text === '.' || token.text === '*' ? token.text : nameOf(token),
    );
    const [first = '', dot, column = ''] = words;
    const qualified = dot === '.';
    const of = qualified ? sources.find(({ as }) => as === first) : others.length === 0 ? only : undefined;
    const name = qualified ? column : first;
    if (of === undefined || !of.sharded) continue;
    const rest = words.slice(qualified ? 3 : 1);
    if (name === '*' && rest.length === 0) for (const [key, type] of of.keys) keys.set(key, type);
    const type = of.keys.get(name);
    const isPlain = rest.length === 0 || rest.length === 1 || (rest.length === 2 && rest[0] === 'as');
    if (type !== undefined && isPlain && rest.at(-1) !== '') keys.set(rest.at(-1) ?? name, type);
  }
  return withoutDoubles(keys, items);
}

/** A name that two items have tells nothing. */
function withoutDoubles(
  keys: ReadonlyMap<string, string>,
  items: SelectBlock['items'],
): ReadonlyMap<string, string> {
  const names = items.map((item) => exportedName(item));
  const single = [...keys].filter(([name]) => names.filter((one) => one === name).length <= 1);
  return new Map(single);
}

function exportedName(item: readonly Token[]): string {
  const last = item.at(-1);
  return last?.text === '*' ? '*' : nameOf(last);
}
