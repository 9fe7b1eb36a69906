/**
 * Judges the statements that a row binlog still holds as text: definitions, and changes whose rows it does
 * not tell. It errs on the side of stopping: a statement that might have changed a captured table counts as
 * one that has.
 */

export type Verdict =
  /** No captured table is concerned. */
  | 'harmless'
  /** The definition of a captured table may have changed. */
  | 'definition'
  /** Rows of a captured table changed, and the log does not say which. */
  | 'untold';

export interface CapturedNames {
  readonly schema: string;
  readonly tables: ReadonlySet<string>;
}

const ROW_STATEMENTS = new Set(['TRUNCATE', 'INSERT', 'UPDATE', 'DELETE', 'REPLACE', 'LOAD', 'WITH']);
const DROPS_ROWS =
  /\b(?:DROP|TRUNCATE|EXCHANGE)\s+(?:SYSTEM_TIME\s+)?PARTITION\b|\b(?:DISCARD|IMPORT)\b.*\bTABLESPACE\b/s;

/** Judges one statement, run with `defaultSchema` as its database. */
export function judgeStatement(sql: string, defaultSchema: string, captured: CapturedNames): Verdict {
  const words = wordsOf(sql);
  const verb = words[0]?.toUpperCase() ?? '';
  const upper = words.slice(0, 8).map((word) => word.toUpperCase());
  if (ROW_STATEMENTS.has(verb)) return mentions(words, defaultSchema, captured) ? 'untold' : 'harmless';
  if (!['ALTER', 'CREATE', 'DROP', 'RENAME'].includes(verb) || upper.includes('TEMPORARY')) return 'harmless';
  if (verb === 'DROP' && (upper[1] === 'DATABASE' || upper[1] === 'SCHEMA')) {
    return words.slice(2).some((word) => equal(word, captured.schema)) ? 'definition' : 'harmless';
  }
  const at = upper.findIndex((word) => word === 'TABLE' || word === 'TABLES');
  if (at === -1) return 'harmless';
  const named = verb === 'CREATE' ? targetOf(words.slice(at + 1)) : words.slice(at + 1);
  if (!mentions(named, defaultSchema, captured)) return 'harmless';
  return verb === 'ALTER' && DROPS_ROWS.test(sql.toUpperCase()) ? 'untold' : 'definition';
}

/** The name that CREATE TABLE makes; a LIKE or a REFERENCES behind it changes nothing. */
function targetOf(words: readonly string[]): readonly string[] {
  const from = ['IF', 'NOT', 'EXISTS'].every((word, at) => equal(words[at] ?? '', word)) ? 3 : 0;
  return words[from + 1] === '.' ? words.slice(from, from + 3) : words.slice(from, from + 1);
}

function mentions(words: readonly string[], defaultSchema: string, captured: CapturedNames): boolean {
  return words.some((word, at) => {
    if (![...captured.tables].some((table) => equal(table, word))) return false;
    const schema = words[at - 1] === '.' ? (words[at - 2] ?? '') : defaultSchema;
    return equal(schema, captured.schema);
  });
}

/** Names may differ in case on some servers; taking them for equal only stops more often. */
function equal(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

const PART = new RegExp(
  [
    /\/\*(?:M?!\d*)(?<run>[\s\S]*?)\*\//,
    /\/\*[\s\S]*?\*\//,
    /(?:--\s|#)[^\n]*/,
    /'(?:[^'\\]|\\[\s\S]|'')*'/,
    /"(?:[^"\\]|\\[\s\S]|"")*"/,
    /`(?<name>(?:[^`]|``)*)`/,
    /(?<word>[\p{L}\p{N}_$@]+)/u,
    /(?<dot>\.)/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'gu',
);

/** Names, words and dots in order; comments and strings are left out, executable comments are code. */
function wordsOf(sql: string): string[] {
  const words: string[] = [];
  for (const { groups } of sql.matchAll(PART)) {
    if (groups?.['run'] !== undefined) words.push(...wordsOf(groups['run']));
    else if (groups?.['name'] !== undefined) words.push(groups['name'].replaceAll('``', '`'));
    else if (groups?.['word'] !== undefined) words.push(groups['word']);
    else if (groups?.['dot'] !== undefined) words.push('.');
  }
  return words;
}
