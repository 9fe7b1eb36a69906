/**
 * The ledger: one row per (report generation, source, span, part), beside the report it accounts for.
 * Whoever holds its row lock is the only one who changes the task's contribution.
 */
import { must, mutated, type FencingToken } from '../../base/index.ts';
import { LEDGER_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import { SCOPE_WHERE, scopeParams, type Scope } from './sink-epoch.ts';
import { asBigint } from './values.ts';

/** One task as the ledger knows it: a span of one source's windows, one part, and what it covers. */
export interface LedgerSpan extends Scope {
  readonly firstWindow: number;
  readonly lastWindow: number;
  readonly part: number;
  readonly parts: number;
  /** The latest moment of the source that the span covers, milliseconds since 1970 by the source's clock. */
  readonly coversMs: number;
  /** `to` of the span's last window. */
  readonly position: string;
}

export interface LedgerRow {
  /** The token whose contribution stands; 0n if none. */
  readonly applied: bigint;
  /** A merge under a token below this one changes nothing any more. */
  readonly floor: bigint;
  readonly hole: boolean;
}

/** A task's row in the ledger, and in whatever is kept for tasks beside it. */
export const SPAN_WHERE = `${SCOPE_WHERE} AND first_window = ? AND part = ?`;
export const spanParams = (span: LedgerSpan): (number | bigint)[] => [
  ...scopeParams(span),
  span.firstWindow,
  span.part,
];

/** The ledger rows of a report's windows of one source: two sources have windows of the same numbers. */
export const ledgerParams = (scope: Scope): number[] =>
  scopeParams(mutated('merge.ledgerWithoutSource') ? { ...scope, sourceId: 0 } : scope);
const rowParams = (span: LedgerSpan): (number | bigint)[] => [
  ...ledgerParams(span),
  span.firstWindow,
  span.part,
];

/**
 * Locks the task's row until the transaction ends, and makes it first if there is none. The making is an
 * upsert that changes nothing on a row that is there: it takes the exclusive lock at once, where INSERT
 * IGNORE would take a shared one and two of them would deadlock.
 */
export async function lockLedgerRow(
  connection: SqlConnection,
  dialect: Dialect,
  span: LedgerSpan,
): Promise<LedgerRow> {
  const key = ['report_id', 'generation', 'source_id', 'first_window', 'part'];
  const zeros = ['applied', 'merged_rows', 'floor_token', 'hole'];
  const facts = ['parts', 'last_window', 'covers_ms', 'position_text', 'reason'];
  const columns = [...key, ...zeros, ...facts];
  const source = `VALUES (${columns.map((column) => (zeros.includes(column) ? '0' : '?')).join(', ')})`;
  const upsert = dialect.upsert({ table: LEDGER_TABLE, columns, source, key });
  const { parts, lastWindow, coversMs, position } = span;
  const row = `FROM ${LEDGER_TABLE} WHERE ${SPAN_WHERE}${dialect.forUpdate}`;
  const locked = `SELECT applied, floor_token, hole ${row}`;
  await connection.later(upsert, [...rowParams(span), parts, lastWindow, coversMs, position, '']);
  const { rows } = await connection.query(locked, rowParams(span));
  const [applied, floor, hole] = must(rows[0], 'the ledger row that was just made');
  return { applied: asBigint(applied), floor: asBigint(floor), hole: asBigint(hole) === 1n };
}

/**
 * Records that the contribution under `token`, of so many rows, stands; from here on every older token is
 * fenced.
 */
export async function writeApplied(
  connection: SqlConnection,
  span: LedgerSpan,
  token: FencingToken,
  rows: number,
): Promise<void> {
  if (mutated('merge.ledgerNotWritten')) return;
  await connection.later(
    `UPDATE ${LEDGER_TABLE} SET applied = ?, merged_rows = ?, floor_token = ?, hole = 0, reason = '', ` +
      `parts = ?, last_window = ?, covers_ms = ?, position_text = ? WHERE ${SPAN_WHERE}`,
    [token, rows, token, span.parts, span.lastWindow, span.coversMs, span.position, ...rowParams(span)],
  );
}

/** Records that nothing stands and why, and raises the floor to `token`. */
export async function writeHole(
  connection: SqlConnection,
  span: LedgerSpan,
  hole: { readonly token: FencingToken; readonly reason: string },
): Promise<void> {
  const floor = mutated('merge.floorNotRaised') ? 'floor_token = floor_token + 0 * ?' : 'floor_token = ?';
  await connection.later(
    `UPDATE ${LEDGER_TABLE} SET applied = 0, merged_rows = 0, ${floor}, hole = 1, reason = ?, ` +
      `parts = ?, last_window = ?, covers_ms = ?, position_text = ? WHERE ${SPAN_WHERE}`,
    [
      hole.token,
      hole.reason.slice(0, 200),
      span.parts,
      span.lastWindow,
      span.coversMs,
      span.position,
      ...rowParams(span),
    ],
  );
}
