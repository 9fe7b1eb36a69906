/**
 * Which min, max and distinct measures of a report are of the same values: they share one multiset, which is
 * computed, merged and folded once. Only plain columns are seen to be the same.
 */
import { mutated } from '../../base/index.ts';
import type { EngineKind, Token } from '../../sql/index.ts';
import type { Measure } from '../model.ts';
import { readBlocks, type SelectBlock } from '../sql/sql-blocks.ts';

const MULTISETS: ReadonlySet<Measure['kind']> = new Set(['min', 'max', 'distinct']);

/** Gives each measure whose values an earlier one has already the position of that one, as `sameAs`. */
export function shareMembers(measures: readonly Measure[], sql: string, kind: EngineKind): Measure[] {
  const { selects } = readBlocks(sql, kind).query;
  const first = new Map<string, number>();
  return measures.map((measure, at) => {
    const column = MULTISETS.has(measure.kind) ? columnOf(measure.name, selects) : undefined;
    if (column === undefined) return measure;
    const members = `${measure.type} ${column}`;
    const same = first.get(members);
    if (same !== undefined) return { ...measure, sameAs: same };
    first.set(members, at);
    return measure;
  });
}

/** The column that each SELECT returns under a name; undefined where one of them returns anything else. */
function columnOf(name: string, selects: readonly SelectBlock[]): string | undefined {
  const position = selects[0]?.items.findIndex((item) => aliasOf(item) === name.toLowerCase()) ?? -1;
  if (position < 0) return undefined;
  const columns = selects.map(({ items }, at) => {
    const item = items[position] ?? [];
    return plainColumn(
      at === 0 ? withoutAlias(item) : aliasOf(item) === undefined ? item : withoutAlias(item),
    );
  });
  return columns.includes(undefined) ? undefined : columns.join(' | ');
}

const isName = (token: Token | undefined): boolean => token?.kind === 'word' || token?.kind === 'name';

/** What follows the AS of an item; undefined without one. */
function aliasOf(item: readonly Token[]): string | undefined {
  const [as, alias] = item.slice(-2);
  if (as?.kind !== 'word' || as.text.toUpperCase() !== 'AS' || !isName(alias)) return undefined;
  return alias?.text.replace(/^[`"]|[`"]$/g, '').toLowerCase();
}

const withoutAlias = (item: readonly Token[]): readonly Token[] => item.slice(0, -2);

/** `alias.column`; a bare word may be a constant of SQL. */
function plainColumn(item: readonly Token[]): string | undefined {
  const [alias, dot, column, ...more] = item;
  if (!isName(alias) || dot?.text !== '.' || !isName(column) || more.length > 0) return undefined;
  if (mutated('job.anyColumnIsTheSame')) return 'any';
  return `${alias?.text ?? ''}.${column?.text ?? ''}`;
}
