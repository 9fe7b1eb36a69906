/** Cuts a statement of the binlog into names and words, as far as judging it takes. */
export interface Word {
  readonly text: string;
  /** In capitals; empty for a quoted name, which is never a keyword. */
  readonly keyword: string;
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
export function wordsOf(sql: string): Word[] {
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
