/**
 * What an ALTER TABLE does to columns, read from its text. The definition that the source shows afterwards
 * cannot tell it: after a column was dropped and made anew it looks as before, and its values are others.
 */
import { mutated } from '../../base/index.ts';
import { typeText } from './type-text.ts';
import { wordsOf, type Word } from './statement-words.ts';

/** Names are in lower case. */
export interface TouchedColumns {
  /** Dropped, added or renamed from or to: a column of this name is not the one that it was. */
  readonly remade: ReadonlySet<string>;
  /** Added unless it is there (MariaDB): one that is there stays as it is. */
  readonly ensured: ReadonlySet<string>;
  /** Defined anew, with their type as it is written; see {@link typeText}. */
  readonly retyped: ReadonlyMap<string, string>;
  /** The character set that all texts are converted to, or undefined. */
  readonly converted: string | undefined;
}

/** What ALTER TABLE may ADD or DROP beside columns; all of these words are reserved, so none is a column. */
const NOT_COLUMNS = new Set([
  ...['INDEX', 'KEY', 'UNIQUE', 'FULLTEXT', 'SPATIAL', 'CONSTRAINT', 'PRIMARY', 'FOREIGN', 'CHECK'],
  ...['DEFAULT', 'PARTITION'],
]);
const FILLERS = new Set(['COLUMN', 'IF', 'NOT', 'EXISTS']);

export function touchedColumns(sql: string): TouchedColumns {
  const words = wordsOf(sql);
  const remade = new Set<string>();
  const ensured = new Set<string>();
  const retyped = new Map<string, string>();
  let converted: string | undefined;
  for (const [at, { keyword }] of words.entries()) {
    const rest = behind(words, at + 1);
    const name = rest[0]?.text.toLowerCase() ?? '';
    switch (keyword) {
      case 'ADD':
      case 'DROP':
        if (NOT_COLUMNS.has(rest[0]?.keyword ?? '')) break;
        (isUnlessThere(words, at + 1) ? ensured : remade).add(name);
        break;
      case 'MODIFY':
        retyped.set(name, typeText(rest.slice(1)));
        break;
      case 'CHANGE':
        change(rest, remade, retyped);
        break;
      case 'RENAME':
        // RENAME COLUMN a TO b.
        if (words[at + 1]?.keyword === 'COLUMN') remade.add(name).add(rest[2]?.text.toLowerCase() ?? '');
        break;
      case 'CONVERT':
        converted = rest.find((_, place) => isCharset(rest, place))?.text.toLowerCase();
        break;
      default:
    }
  }
  return { remade, ensured, retyped, converted };
}

/** Whether ALTER TABLE does anything to columns, beyond indexes, constraints and defaults. */
export function touchesColumns({ remade, ensured, retyped, converted }: TouchedColumns): boolean {
  return remade.size > 0 || ensured.size > 0 || retyped.size > 0 || converted !== undefined;
}

/** ADD COLUMN IF NOT EXISTS: DROP has no NOT. */
function isUnlessThere(words: readonly Word[], from: number): boolean {
  if (mutated('collector.addedWhereItIs')) return false;
  const [first, second, third] = words.slice(words[from]?.keyword === 'COLUMN' ? from + 1 : from);
  return first?.keyword === 'IF' && second?.keyword === 'NOT' && third?.keyword === 'EXISTS';
}

function behind(words: readonly Word[], from: number): readonly Word[] {
  let at = from;
  while (FILLERS.has(words[at]?.keyword ?? '')) at += 1;
  return words.slice(at);
}

function change(rest: readonly Word[], remade: Set<string>, retyped: Map<string, string>): void {
  const [before, after] = [rest[0]?.text.toLowerCase() ?? '', rest[1]?.text.toLowerCase() ?? ''];
  if (before === after) retyped.set(after, typeText(rest.slice(2)));
  else remade.add(before).add(after);
}

/** CONVERT TO CHARACTER SET x: the word behind SET or CHARSET. */
function isCharset(words: readonly Word[], at: number): boolean {
  const before = words[at - 1]?.keyword;
  return before === 'SET' || before === 'CHARSET';
}
