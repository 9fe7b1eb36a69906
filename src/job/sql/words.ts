/** Makes a set of the words that stand in `lines`, between blanks. */
export const words = (...lines: readonly string[]): ReadonlySet<string> =>
  new Set(lines.join(' ').split(' '));
