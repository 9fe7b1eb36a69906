/**
 * The watermark (design 6.11): up to which window of a source a report is complete, readable by SQL in the
 * report database. It is raised from the ledger alone and stops at the first window that is neither applied
 * nor a hole.
 */
import { mutated, TidemarkError, type FencingToken } from '../../base/index.ts';
import { FOLD_TABLE, LEDGER_TABLE, WATERMARK_TABLE } from '../../job/index.ts';
import type { Dialect, ResultSet, SqlConnection, SqlValue } from '../../sql/index.ts';
import { ledgerParams } from './ledger.ts';
import { SCOPE_WHERE, scopeParams, type Scope } from './sink-epoch.ts';
import { asBigint, asText } from './values.ts';

export interface Watermark {
  /** Every window up to this one is applied or a hole; 0 before the first. */
  readonly window: number;
  /** The source's clock at a moment whose changes are all included, milliseconds since 1970. */
  readonly coversMs: number;
  readonly position: string;
  readonly holes: number;
}

/**
 * Ledger rows read at a time: a walk over a long backlog stays bounded in memory. More than the parts that a
 * span can have.
 */
const LEDGER_ROWS_PER_READ = 512;

/**
 * Makes the rows that fold mark and watermark of a report generation are kept in. Repeating it is harmless.
 */
export async function registerReport(
  connection: SqlConnection,
  dialect: Dialect,
  scope: Scope & { readonly epoch: FencingToken },
  reportName: string,
): Promise<void> {
  const key = ['report_id', 'generation', 'source_id'];
  const fold = dialect.insertIgnore({
    table: FOLD_TABLE,
    columns: [...key, 'folded_window', 'folded_seal', 'epoch'],
    source: 'VALUES (?, ?, ?, 0, 0, ?)',
    key,
  });
  const watermark = dialect.insertIgnore({
    table: WATERMARK_TABLE,
    columns: [...key, 'report', 'last_window', 'covers_ms', 'position_text', 'holes'],
    source: `VALUES (?, ?, ?, ?, 0, 0, '', 0)`,
    key,
  });
  await connection.query(fold, [...scopeParams(scope), scope.epoch]);
  await connection.query(watermark, [...scopeParams(scope), reportName]);
}

/**
 * Raises the watermark as far as the ledger allows.
 *
 * It is the last step of the very transaction that settles a task: whatever the ledger holds has been
 * offered to the watermark. Of two that settle neighbouring windows at once, the later one to get the
 * watermark's row lock sees what the other has committed.
 */
export async function raiseWatermark(
  connection: SqlConnection,
  dialect: Dialect,
  scope: Scope,
  folded: number,
): Promise<void> {
  const key = scopeParams(scope);
  const mark = `(SELECT w.last_window FROM ${WATERMARK_TABLE} AS w WHERE ${SCOPE_WHERE})`;
  const locked =
    `SELECT last_window, covers_ms, position_text, holes FROM ${WATERMARK_TABLE} ` +
    `WHERE ${SCOPE_WHERE}${dialect.forUpdate}`;
  // What follows the first is read once that has its lock.
  const [marks, behind, counted] = await connection.batch([
    { sql: locked, params: key },
    { sql: rowsBehind(mark), params: [...ledgerParams(scope), ...key] },
    { sql: `SELECT ${holesUpTo(mark)}`, params: [...ledgerParams(scope), ...key] },
  ]);
  const standing = toMark(marks?.rows[0] ?? noWatermark(scope));
  const from = { ...standing, window: Math.max(standing.window, folded) };
  const read = from.window === standing.window ? toWalkRows(behind) : undefined;
  const reached = await walk(connection, scope, from, read);
  const holes = Number(asBigint(counted?.rows[0]?.[0]));
  if (reached.window === standing.window && holes === standing.holes) return;
  await connection.later(
    `UPDATE ${WATERMARK_TABLE} SET last_window = ?, covers_ms = ?, position_text = ?, ` +
      `holes = ${holesUpTo('?')} WHERE ${SCOPE_WHERE}`,
    [reached.window, reached.coversMs, reached.position, ...ledgerParams(scope), reached.window, ...key],
  );
}

/**
 * Sets the watermark to what ledger and fold mark vouch for, which may be less than it said.
 */
export async function cutWatermark(connection: SqlConnection, dialect: Dialect, scope: Scope): Promise<void> {
  const { rows } = await connection.query(
    `SELECT folded_window FROM ${FOLD_TABLE} WHERE ${SCOPE_WHERE}`,
    scopeParams(scope),
  );
  const folded = Number(asBigint(rows[0]?.[0]));
  await connection.query(
    `UPDATE ${WATERMARK_TABLE} SET last_window = 0, covers_ms = 0, position_text = '', holes = 0 ` +
      `WHERE ${SCOPE_WHERE} AND last_window > ?`,
    [...scopeParams(scope), folded],
  );
  await raiseWatermark(connection, dialect, scope, folded);
}

/**
 * Reads what the watermark says, and what ledger and fold mark vouch for; in one snapshot they are equal.
 * @throws TidemarkError `SINK_LOSS` if there is no watermark.
 */
export async function readWatermark(
  connection: SqlConnection,
  scope: Scope,
  folded: number,
): Promise<{ readonly standing: Watermark; readonly reached: Pick<Watermark, 'window' | 'holes'> }> {
  const { rows } = await connection.query(
    `SELECT last_window, covers_ms, position_text, holes FROM ${WATERMARK_TABLE} WHERE ${SCOPE_WHERE}`,
    scopeParams(scope),
  );
  const standing = toMark(rows[0] ?? noWatermark(scope));
  const { window } = await walk(connection, scope, { window: folded, coversMs: 0, position: '' });
  return { standing, reached: { window, holes: await countHoles(connection, scope, window) } };
}

/** @throws TidemarkError `SINK_LOSS` where a generation has no watermark. */
export async function requireWatermark(connection: SqlConnection, scope: Scope): Promise<void> {
  const sql = `SELECT 1 FROM ${WATERMARK_TABLE} WHERE ${SCOPE_WHERE}`;
  const { rows } = await connection.query(sql, scopeParams(scope));
  if (rows.length === 0) noWatermark(scope);
}

/** A database that is being restored, or was restored in part: nothing can be said of it, and nobody ends. */
function noWatermark({ reportId, generation }: Scope): never {
  throw new TidemarkError(
    'SINK_LOSS',
    `the report database lacks the watermark of ${reportId}/${generation}`,
    {
      next: 'Restore it as a whole; until then it is tried again.',
    },
  );
}

type Mark = Omit<Watermark, 'holes'>;

function toMark(row: readonly SqlValue[]): Watermark {
  const [window, coversMs, position, holes] = row;
  return {
    holes: Number(asBigint(holes)),
    window: Number(asBigint(window)),
    coversMs: Number(asBigint(coversMs)),
    position: asText(position),
  };
}

/** A ledger row, as far as walking over spans needs it. */
export interface WalkRow {
  readonly firstWindow: number;
  readonly lastWindow: number;
  readonly parts: number;
  readonly settled: boolean;
  readonly coversMs: number;
  readonly position: string;
}

/**
 * Goes on from span to span as long as the next one begins right after the mark and all of its parts are
 * settled.
 */
async function walk(
  connection: SqlConnection,
  scope: Scope,
  from: Mark,
  first?: readonly WalkRow[],
): Promise<Mark> {
  let mark: Mark = { window: from.window, coversMs: from.coversMs, position: from.position };
  let read = first;
  for (;;) {
    const rows = read ?? (await readAfter(connection, scope, mark.window));
    read = undefined;
    const full = rows.length === LEDGER_ROWS_PER_READ;
    const before = mark.window;
    for (const span of wholeSpans(rows, full)) {
      const [first] = span;
      if (first === undefined) break;
      const complete =
        first.firstWindow === mark.window + 1 &&
        span.length === first.parts &&
        span.every((row) => row.settled);
      if (!complete && !mutated('merge.watermarkSkipsHoles')) return mark;
      mark = {
        window: first.lastWindow,
        coversMs: Math.max(mark.coversMs, first.coversMs),
        position: first.position,
      };
    }
    if (!full || mark.window === before) return mark;
  }
}

/** A full read may end in the middle of its last span: the next read begins with that one. */
function wholeSpans(rows: readonly WalkRow[], full: boolean): WalkRow[][] {
  const spans = bySpan(rows);
  return full && !mutated('merge.walkEndsInSpan') ? spans.slice(0, -1) : spans;
}

/** Ledger rows of spans behind a window, in order; a bounded number of them. */
export async function readAfter(connection: SqlConnection, scope: Scope, window: number): Promise<WalkRow[]> {
  return toWalkRows(await connection.query(rowsBehind('?'), [...ledgerParams(scope), window]));
}

/** Takes the scope and then what is in `window`. */
function rowsBehind(window: string): string {
  return (
    `SELECT first_window, last_window, parts, applied, hole, covers_ms, position_text FROM ${LEDGER_TABLE} ` +
    `WHERE ${SCOPE_WHERE} AND first_window > ${window} ORDER BY first_window, part ` +
    `LIMIT ${LEDGER_ROWS_PER_READ}`
  );
}

function toWalkRows(result: ResultSet | undefined): WalkRow[] {
  return (result?.rows ?? []).map((row) => ({
    firstWindow: Number(asBigint(row[0])),
    lastWindow: Number(asBigint(row[1])),
    parts: Number(asBigint(row[2])),
    settled: asBigint(row[3]) !== 0n || asBigint(row[4]) === 1n,
    coversMs: Number(asBigint(row[5])),
    position: asText(row[6]),
  }));
}

/** Groups rows, which come in span order, by their first window. */
export function bySpan(rows: readonly WalkRow[]): WalkRow[][] {
  const spans: WalkRow[][] = [];
  for (const row of rows) {
    const last = spans.at(-1);
    if (last?.[0]?.firstWindow === row.firstWindow) last.push(row);
    else spans.push([row]);
  }
  return spans;
}

async function countHoles(connection: SqlConnection, scope: Scope, window: number): Promise<number> {
  const { rows } = await connection.query(`SELECT ${holesUpTo('?')}`, [...ledgerParams(scope), window]);
  return Number(asBigint(rows[0]?.[0]));
}

/** Takes the scope and then what is in `window`. */
function holesUpTo(window: string): string {
  const holes = `${SCOPE_WHERE} AND hole = 1 AND first_window <= ${window}`;
  return `(SELECT COUNT(*) FROM ${LEDGER_TABLE} WHERE ${holes})`;
}
