/** Cuts many rows into statements of bounded size, for `insertRows` of both engines. */
import { assert, LIMITS } from '../base/index.ts';
import type { SqlParam } from './engine.ts';

/** Far below the 16 MiB that MySQL and MariaDB accept by default. */
const STATEMENT_BYTES_MAX = 1024 * 1024;

/** Yields `[from, to)` slices: at most `rowsMax` rows, and at most 1 MiB unless one row alone is larger. */
export function* insertBatches(
  columns: readonly string[],
  rows: readonly (readonly SqlParam[])[],
  rowsMax: number = LIMITS.sqlInsertRowsMax,
): Generator<readonly [number, number]> {
  let from = 0;
  let bytes = 0;
  for (let at = 0; at < rows.length; at += 1) {
    const row = rows[at] ?? [];
    assert(row.length === columns.length, 'a row has a value for each column');
    const size = row.reduce<number>((sum, value) => sum + weigh(value), 0);
    if (at > from && (at - from >= rowsMax || bytes + size > STATEMENT_BYTES_MAX)) {
      yield [from, at];
      from = at;
      bytes = 0;
    }
    bytes += size;
  }
  if (from < rows.length) yield [from, rows.length];
}

/** About how many bytes the value's literal takes: text may double by escapes, binary doubles as hex. */
function weigh(value: SqlParam): number {
  if (typeof value === 'string' || value instanceof Uint8Array) return value.length * 2 + 4;
  return 22;
}
