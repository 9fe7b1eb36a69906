/**
 * Finds the known word that a misspelt one was probably meant to be: about a third of its letters may differ.
 */
export function didYouMean(word: string, known: readonly string[]): string | undefined {
  let best: { readonly word: string; readonly distance: number } | undefined;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (best === undefined || distance < best.distance) best = { word: candidate, distance };
  }
  const allowed = word.length < 2 ? 0 : Math.ceil(word.length / 3);
  return best !== undefined && best.distance <= allowed ? best.word : undefined;
}

/** Says `did you mean x?`, or which words there are. */
export function suggestion(word: string, known: readonly string[]): string {
  const meant = didYouMean(word, known);
  return meant === undefined ? `known here: ${known.join(', ')}` : `did you mean ${meant}?`;
}

/** Levenshtein's distance, with one row of the table. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let at = 1; at <= left.length; at += 1) {
    const next = [at];
    for (let to = 1; to <= right.length; to += 1) {
      const same = left[at - 1] === right[to - 1] ? 0 : 1;
      next.push(Math.min((row[to] ?? 0) + 1, (next[to - 1] ?? 0) + 1, (row[to - 1] ?? 0) + same));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

/** Says that a name refers to nothing, and what was probably meant. */
export function unknownName(what: string, name: string, known: readonly string[]): string {
  return `there is no ${what} ${name}; ${suggestion(name, known)}`;
}
