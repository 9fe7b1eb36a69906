/**
 * Cuts SQL text into tokens. It is not a parser: it only knows what must not be mistaken for code
 * (strings, quoted names, comments) and how deep in parentheses a token stands. The placeholder binding and
 * the textual checks of the report contract both stand on it.
 */
import { TidemarkError } from '../base/index.ts';
import type { EngineKind } from './engine.ts';

export type TokenKind = 'word' | 'number' | 'string' | 'name' | 'symbol' | 'placeholder';

export interface Token {
  readonly kind: TokenKind;
  /** The text as written; a word is not upper-cased. */
  readonly text: string;
  /** Offset of the first and after the last character. */
  readonly start: number;
  readonly end: number;
  /** How many parentheses are open around it; the parentheses themselves count as outside. */
  readonly depth: number;
}

const SPACE = /\s+/y;
const LINE_COMMENT: Record<EngineKind, RegExp> = {
  mysql: /(?:--(?=\s|$)|#)[^\n]*/y,
  embedded: /--[^\n]*/y,
};
const BLOCK_COMMENT = /\/\*[\s\S]*?\*\//y;
const WORD = /[\p{L}_$@][\p{L}\p{N}_$@]*/uy;
const NUMBER = /(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)/y;

/**
 * Cuts `sql` into tokens as the engine would, without comments and white space.
 * @throws TidemarkError `SQL_INVALID` for an unclosed string, comment or parenthesis.
 */
export function tokenize(sql: string, kind: EngineKind): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let depth = 0;
  while (at < sql.length) {
    const skipped = skip(sql, at, kind);
    if (skipped > at) {
      at = skipped;
      continue;
    }
    const [found, end] = next(sql, at, kind);
    const text = sql.slice(at, end);
    if (text === ')') depth -= 1;
    if (depth < 0) throw invalid(sql, at, 'a closing parenthesis without an opening one');
    tokens.push({ kind: found, text, start: at, end, depth });
    if (text === '(') depth += 1;
    at = end;
  }
  if (depth > 0) throw invalid(sql, sql.length, 'a parenthesis is not closed');
  return tokens;
}

function skip(sql: string, at: number, kind: EngineKind): number {
  const end = match(SPACE, sql, at) ?? match(LINE_COMMENT[kind], sql, at);
  if (end !== undefined) return end;
  if (!sql.startsWith('/*', at)) return at;
  // MySQL runs what stands in /*! */ and /*M! */: it would be code that nobody checked.
  if (/^\/\*M?!/.test(sql.slice(at, at + 4))) throw invalid(sql, at, 'an executable comment');
  const closed = match(BLOCK_COMMENT, sql, at);
  if (closed === undefined) throw invalid(sql, at, 'a comment is not closed');
  return closed;
}

function next(sql: string, at: number, kind: EngineKind): readonly [TokenKind, number] {
  const first = sql.charAt(at);
  if (first === "'" || first === '"') return ['string', closing(sql, at, first, kind === 'mysql')];
  if (first === '`') return ['name', closing(sql, at, first, false)];
  if (first === '?') return ['placeholder', at + 1];
  const number = match(NUMBER, sql, at);
  if (number !== undefined) return ['number', number];
  const word = match(WORD, sql, at);
  if (word !== undefined) return ['word', word];
  return ['symbol', at + 1];
}

/** Finds the end of a quoted text: a doubled quote stays inside; in MySQL a backslash escapes in strings. */
function closing(sql: string, at: number, quote: string, escapes: boolean): number {
  let position = at + 1;
  while (position < sql.length) {
    const char = sql.charAt(position);
    if (char === '\\' && escapes) position += 2;
    else if (char !== quote) position += 1;
    else if (sql.charAt(position + 1) === quote) position += 2;
    else return position + 1;
  }
  throw invalid(sql, at, `${quote} is not closed`);
}

function match(pattern: RegExp, sql: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(sql) ? pattern.lastIndex : undefined;
}

/** Says where in a text an offset is: `line 3, column 7`. */
export function textPosition(text: string, offset: number): string {
  const before = text.slice(0, offset).split('\n');
  return `line ${before.length}, column ${(before.at(-1) ?? '').length + 1}`;
}

function invalid(sql: string, at: number, what: string): TidemarkError {
  return new TidemarkError('SQL_INVALID', `SQL ${textPosition(sql, at)}: ${what}`);
}
