/** How far the snapshot of a source has come, as a seal carries it (design 6.5). */

export interface SnapshotCursor {
  /** Tables before this one are copied. */
  readonly table: string;
  /** The last key of it that is copied, as texts; empty: none is. */
  readonly key: readonly string[];
}

/** Writes a cursor; equal ones have equal texts. */
export function cursorText({ table, key }: SnapshotCursor): string {
  return JSON.stringify({ table, key });
}

/** Reads what {@link cursorText} wrote. */
export function readCursor(text: string): SnapshotCursor {
  return JSON.parse(text) as SnapshotCursor;
}
