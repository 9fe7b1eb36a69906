/**
 * Judges the statements that a row binlog still holds as text: definitions, and changes whose rows it does
 * not tell. It errs on the side of stopping: a statement that might have changed a captured table counts as
 * one that has.
 */

export type Verdict =
  /** No captured table is concerned. */
  | 'harmless'
  /** The definition of a captured table may have changed; its rows are the same. */
  | 'definition'
  /** A captured name is another table now, or columns were made anew: comparing definitions shows nothing. */
  | 'replaced'
  /** Rows of a captured table changed, and the log does not say which. */
  | 'untold';

export interface CapturedNames {
  readonly schema: string;
  readonly tables: ReadonlySet<string>;
}

interface Word {
  readonly text: string;
  /** In capitals; empty for a quoted name, which is never a keyword. */
  readonly keyword: string;
}

const ROW_STATEMENTS = new Set(['TRUNCATE', 'INSERT', 'UPDATE', 'DELETE', 'REPLACE', 'LOAD', 'WITH']);
const MOVES_ROWS = new RegExp(
  [
    /\b(?:DROP|TRUNCATE|EXCHANGE)\s+(?:SYSTEM_TIME\s+)?PARTITION\b/,
    /\bCONVERT\s+(?:PARTITION|TABLE)\b/,
    /\b(?:DISCARD|IMPORT)\b.*\bTABLESPACE\b/,
  ]
    .map(({ source }) => source)
    .join('|'),
  's',
);
/** What ALTER TABLE may ADD or DROP beside columns; all of these words are reserved, so none is a column. */
const NOT_COLUMNS = new Set([
  ...['INDEX', 'KEY', 'UNIQUE', 'FULLTEXT', 'SPATIAL', 'CONSTRAINT', 'PRIMARY', 'FOREIGN', 'CHECK'],
  ...['DEFAULT', 'PARTITION'],
]);

/** Judges one statement, run with `defaultSchema` as its database. */
export function judgeStatement(sql: string, defaultSchema: string, captured: CapturedNames): Verdict {
  const words = wordsOf(sql);
  const verb = words[0]?.keyword ?? '';
  const keywords = words.slice(0, 8).map(({ keyword }) => keyword);
  if (ROW_STATEMENTS.has(verb)) return mentions(words, defaultSchema, captured) ? 'untold' : 'harmless';
  if (!['ALTER', 'CREATE', 'DROP', 'RENAME'].includes(verb)) return 'harmless';
  const schemaAt = keywords.findIndex((word) => word === 'DATABASE' || word === 'SCHEMA');
  if (schemaAt !== -1 && (verb === 'DROP' || keywords.slice(0, schemaAt).includes('REPLACE'))) {
    return words.slice(schemaAt).some(({ text }) => equal(text, captured.schema)) ? 'replaced' : 'harmless';
  }
  const at = keywords.findIndex((word) => word === 'TABLE' || word === 'TABLES');
  if (at === -1 || keywords.slice(0, at).includes('TEMPORARY')) return 'harmless';
  const rest = words.slice(at + 1);
  const concerned = (some: readonly Word[]): boolean => mentions(some, defaultSchema, captured);
  if (!concerned(verb === 'CREATE' ? targetOf(rest) : rest)) return 'harmless';
  if (verb === 'CREATE') return isIfNotExists(rest) ? 'definition' : 'replaced';
  if (verb !== 'ALTER') return 'replaced';
  if (MOVES_ROWS.test(sql.toUpperCase()) || keywords.slice(0, at).includes('IGNORE')) return 'untold';
  if (concerned(targetOf(rest))) return altersRows(rest) ? 'replaced' : 'definition';
  return rest.some(({ keyword }) => keyword === 'RENAME') ? 'replaced' : 'definition';
}

/** Whether ALTER TABLE makes columns anew or renames the table: a second one may hide what the first did. */
function altersRows(words: readonly Word[]): boolean {
  return words.some(({ keyword }, at) => {
    const next = words[at + 1]?.keyword ?? '';
    switch (keyword) {
      case 'MODIFY':
      case 'CHANGE':
      case 'CONVERT':
        return true;
      case 'ADD':
      case 'DROP':
        return !NOT_COLUMNS.has(next);
      case 'RENAME':
        return next !== 'INDEX' && next !== 'KEY';
      default:
        return false;
    }
  });
}

function isIfNotExists(words: readonly Word[]): boolean {
  return ['IF', 'NOT', 'EXISTS'].every((word, at) => words[at]?.keyword === word);
}

/** The name that CREATE or ALTER TABLE is about; a LIKE or a REFERENCES behind it changes nothing there. */
function targetOf(words: readonly Word[]): readonly Word[] {
  const from = Math.max(
    0,
    words.findIndex(({ keyword }) => !['IF', 'NOT', 'EXISTS'].includes(keyword)),
  );
  return words.slice(from, words[from + 1]?.text === '.' ? from + 3 : from + 1);
}

function mentions(words: readonly Word[], defaultSchema: string, captured: CapturedNames): boolean {
  return words.some(({ text }, at) => {
    if (![...captured.tables].some((table) => equal(table, text))) return false;
    const schema = words[at - 1]?.text === '.' ? (words[at - 2]?.text ?? '') : defaultSchema;
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
    /"(?<ansi>(?:[^"\\]|\\[\s\S]|"")*)"/,
    /`(?<name>(?:[^`]|``)*)`/,
    /(?<word>[\p{L}\p{N}_$@]+)/u,
    /(?<dot>\.)/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'gu',
);

/**
 * Names, words and dots in order; comments and strings are left out, executable comments are code. What
 * stands in double quotes may be a name (sql_mode ANSI_QUOTES), so it counts as one.
 */
function wordsOf(sql: string): Word[] {
  const words: Word[] = [];
  for (const { groups } of sql.matchAll(PART)) {
    const { run, name, ansi, word, dot } = groups ?? {};
    if (run !== undefined) words.push(...wordsOf(run));
    else if (name !== undefined) words.push({ text: name.replaceAll('``', '`'), keyword: '' });
    else if (ansi !== undefined) words.push({ text: ansi.replaceAll('""', '"'), keyword: '' });
    else if (word !== undefined) words.push({ text: word, keyword: word.toUpperCase() });
    else if (dot !== undefined) words.push({ text: dot, keyword: '' });
  }
  return words;
}
