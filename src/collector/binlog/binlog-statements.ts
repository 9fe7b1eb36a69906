/**
 * Judges the statements that a row binlog still holds as text: definitions, and changes whose rows it does
 * not tell. It errs on the side of stopping: a statement that might have changed a captured table counts as
 * one that has.
 */
import { mutated } from '../../base/index.ts';
import { touchedColumns, touchesColumns } from '../schema/alter-clauses.ts';
import { wordsOf, type Word } from '../schema/statement-words.ts';

export type Verdict =
  /** No captured table is concerned. */
  | 'harmless'
  /** The definition of a captured table may have changed; its rows are the same. */
  | 'definition'
  /** Columns of a captured table are others now, although their definitions may look as before. */
  | 'altered'
  /** A captured name is another table now, or has another key: comparing definitions shows nothing. */
  | 'replaced'
  /** Rows of a captured table changed, and the log does not say which. */
  | 'untold';

export interface CapturedNames {
  readonly schema: string;
  readonly tables: ReadonlySet<string>;
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
  if (renamesTable(rest)) return 'replaced';
  if (!concerned(targetOf(rest))) return 'definition';
  // By the time that this is read the key may be the former one again, and two rows have shared it.
  if (rest.some(({ keyword }) => keyword === 'PRIMARY') && !mutated('collector.keyAlteredAndBack')) {
    return 'replaced';
  }
  return touchesColumns(touchedColumns(sql)) ? 'altered' : 'definition';
}

/** The captured table that an ALTER TABLE is about, or undefined. */
export function alteredTable(
  sql: string,
  defaultSchema: string,
  captured: CapturedNames,
): string | undefined {
  const words = wordsOf(sql);
  const target = targetOf(words.slice(words.findIndex(({ keyword }) => keyword === 'TABLE') + 1));
  return [...captured.tables].find((table) =>
    mentions(target, defaultSchema, { schema: captured.schema, tables: new Set([table]) }),
  );
}

/** Whether ALTER TABLE gives the table another name; RENAME COLUMN, INDEX and KEY do not. */
function renamesTable(words: readonly Word[]): boolean {
  return words.some(
    ({ keyword }, at) =>
      keyword === 'RENAME' && !['COLUMN', 'INDEX', 'KEY'].includes(words[at + 1]?.keyword ?? ''),
  );
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
