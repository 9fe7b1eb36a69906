/** Keys are short: a loop over them costs less than a call into the library, which does the same. */

export function copyShort(
  from: Uint8Array,
  range: { from: number; to: number },
  into: Uint8Array,
  at: number,
): void {
  const shift = at - range.from;
  for (let i = range.from; i < range.to; i++) into[i + shift] = from[i] as number;
}

/** Compares `left[0, leftBytes)` with `right[0, rightBytes)`, byte by byte. */
export function compareShort(
  left: Uint8Array,
  leftBytes: number,
  right: Uint8Array,
  rightBytes: number,
): number {
  const both = Math.min(leftBytes, rightBytes);
  for (let i = 0; i < both; i++) {
    const difference = (left[i] as number) - (right[i] as number);
    if (difference !== 0) return difference;
  }
  return leftBytes - rightBytes;
}
