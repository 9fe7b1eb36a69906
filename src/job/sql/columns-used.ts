/**
 * Which columns of an input a report's SQL may read. Found in its text: a name that stands for something else
 * counts too, so that a report may be stopped without need, but never goes on without what it reads.
 */
import { tokenize, type EngineKind, type Token } from '../../sql/index.ts';

/** Returns those of `columns` that `sql` may read, in their order. */
export function columnsUsed(sql: string, kind: EngineKind, columns: readonly string[]): string[] {
  const tokens = tokenize(sql, kind);
  if (readsAll(tokens)) return [...columns];
  const names = new Set(tokens.map(nameOf));
  return columns.filter((column) => names.has(column.toLowerCase()));
}

function nameOf({ text }: Token): string {
  const bare = /^["`]/.test(text) ? text.slice(1, -1) : text;
  return bare.toLowerCase();
}

/** `*` and NATURAL JOIN read whatever there is; that of COUNT(*) reads no column. */
function readsAll(tokens: readonly Token[]): boolean {
  return tokens.some(({ text }, at) => {
    if (text.toUpperCase() === 'NATURAL') return true;
    return text === '*' && /^(?:\.|,|SELECT|DISTINCT|ALL)$/i.test(tokens[at - 1]?.text ?? '');
  });
}
