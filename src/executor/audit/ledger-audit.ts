/**
 * Compares ledger rows of a report generation, and the contributions beside them, with the tasks that the
 * leader knows; all of the database's side in one snapshot. Rows up to the fold mark say nothing any more.
 */
import { isTidemarkError, mutated } from '../../base/index.ts';
import { FOLD_TABLE, LEDGER_TABLE } from '../../job/index.ts';
import type { Dialect, ResultSet, SqlConnection } from '../../sql/index.ts';
import { KNOWN_STATE, type KnownGeneration, type KnownTask } from '../sink/known-tasks.ts';
import { SCOPE_WHERE, scopeParams, type Scope } from '../sink/sink-epoch.ts';
import { asBigint } from '../sink/values.ts';
import { difference, type Difference, type DifferenceCode } from './difference.ts';

/** First windows, both ends included. */
export interface WindowRange {
  readonly first: number;
  readonly last: number;
}

/** Rows read at a time, and contributions told of one table. */
const ROWS_PER_READ = 512;

interface Row {
  readonly firstWindow: number;
  readonly lastWindow: number;
  readonly part: number;
  readonly applied: bigint;
  /** Rows of the contribution that stands. */
  readonly merged: bigint;
  readonly floor: bigint;
  readonly hole: boolean;
}

type Place = Pick<Row, 'firstWindow' | 'lastWindow' | 'part'>;

/** Compares one generation over a range of windows; `known` are its tasks there. */
export async function auditLedger(
  connection: SqlConnection,
  dialect: Dialect,
  generation: KnownGeneration,
  { first, last }: WindowRange,
  known: readonly KnownTask[],
): Promise<Difference[]> {
  const scope = scopeOf(generation);
  const behind = Math.max(generation.keptFrom - 1, await foldedWindow(connection, scope));
  const range = { first: Math.max(first, behind + 1), last };
  const found: Difference[] = [];
  const counts = await countStanding(connection, dialect, generation, range);
  const waiting = new Map(
    known.filter(({ firstWindow }) => firstWindow > behind).map((task) => [keyOf(task), task]),
  );
  for await (const row of ledgerRows(connection, scope, range)) {
    const task = waiting.get(keyOf(row));
    waiting.delete(keyOf(row));
    const wrong = compareRow(task, row);
    if (wrong !== undefined) found.push(tell(wrong, scope, row, task, row));
    if (row.applied === 0n || counts === undefined || mutated('audit.rowsPassed')) continue;
    const count = counts.get(keyOf(row)) ?? 0n;
    if (count !== row.merged) found.push(tellRows(scope, row, count));
  }
  for (const task of waiting.values()) {
    const isDue = task.state === KNOWN_STATE.done || task.state === KNOWN_STATE.hole;
    if (isDue && !mutated('audit.missingPassed')) {
      found.push(tell('LEDGER_MISSING', scope, task, task, undefined));
    }
  }
  return found;
}

export const scopeOf = ({ layout, sourceId }: KnownGeneration): Scope => ({
  reportId: layout.reportId,
  generation: layout.generation,
  sourceId,
});

const keyOf = ({ firstWindow, part }: Pick<Place, 'firstWindow' | 'part'>): string =>
  `${firstWindow}/${part}`;

async function foldedWindow(connection: SqlConnection, scope: Scope): Promise<number> {
  const { rows } = await connection.query(
    `SELECT folded_window FROM ${FOLD_TABLE} WHERE ${SCOPE_WHERE}`,
    scopeParams(scope),
  );
  return Number(asBigint(rows[0]?.[0] ?? 0n));
}

async function* ledgerRows(
  connection: SqlConnection,
  scope: Scope,
  { first, last }: WindowRange,
): AsyncGenerator<Row, void> {
  let after = { firstWindow: first - 1, part: Number.MAX_SAFE_INTEGER };
  for (;;) {
    const { rows } = await connection.query(
      'SELECT first_window, part, last_window, applied, merged_rows, floor_token, hole ' +
        `FROM ${LEDGER_TABLE} ` +
        `WHERE ${SCOPE_WHERE} AND (first_window > ? OR (first_window = ? AND part > ?)) ` +
        `AND first_window <= ? ORDER BY first_window, part LIMIT ${ROWS_PER_READ}`,
      [...scopeParams(scope), after.firstWindow, after.firstWindow, after.part, last],
    );
    for (const [firstWindow, part, lastWindow, applied, merged, floor, hole] of rows) {
      after = { firstWindow: Number(asBigint(firstWindow)), part: Number(asBigint(part)) };
      yield {
        ...after,
        lastWindow: Number(asBigint(lastWindow)),
        applied: asBigint(applied),
        merged: asBigint(merged),
        floor: asBigint(floor),
        hole: asBigint(hole) === 1n,
      };
    }
    if (rows.length < ROWS_PER_READ) return;
  }
}

/**
 * What is wrong with a row, if anything. A task that is under way may have left anything there that was
 * granted before, but nothing that was not.
 */
function compareRow(task: KnownTask | undefined, row: Row): DifferenceCode | undefined {
  if (task === undefined) return mutated('audit.unknownPassed') ? undefined : 'LEDGER_UNKNOWN';
  if (task.lastWindow !== row.lastWindow && !mutated('audit.spanPassed')) return 'LEDGER_SPAN';
  const isAhead = row.applied > task.token || row.floor > task.token;
  if (isAhead && !mutated('audit.aheadPassed')) return 'LEDGER_TOKEN';
  if (task.state === KNOWN_STATE.done) {
    if (row.applied !== task.token && !mutated('audit.tokenPassed')) return 'LEDGER_TOKEN';
    return row.hole && !mutated('audit.holePassed') ? 'LEDGER_HOLE' : undefined;
  }
  if (task.state !== KNOWN_STATE.hole) return undefined;
  if ((!row.hole || row.applied !== 0n) && !mutated('audit.noHolePassed')) return 'LEDGER_HOLE';
  // A merge that was granted before must not be able to fill it.
  return row.floor !== task.token && !mutated('audit.floorPassed') ? 'LEDGER_TOKEN' : undefined;
}

/**
 * How many contribution rows stand, by place. Others are of attempts that did not come to their end, or were
 * replaced: they count for nothing. Undefined: a table is missing, which is told with the marks.
 */
async function countStanding(
  connection: SqlConnection,
  dialect: Dialect,
  generation: KnownGeneration,
  { first, last }: WindowRange,
): Promise<Map<string, bigint> | undefined> {
  const { reportId, generation: number, sourceId } = scopeOf(generation);
  const { contributionTable, isOfCells } = generation.layout;
  const rows = isOfCells ? 'COUNT(*)' : `SUM(${dialect.jsonLength('c.body')})`;
  const counted = await ifThere(
    connection.query(
      `SELECT c.first_window, c.part, ${rows} FROM ${dialect.id(contributionTable)} AS c ` +
        `JOIN ${LEDGER_TABLE} AS l ON l.report_id = ? AND l.generation = ? AND l.source_id = c.source_id ` +
        'AND l.first_window = c.first_window AND l.part = c.part AND l.applied = c.token ' +
        'WHERE c.source_id = ? AND c.first_window BETWEEN ? AND ? GROUP BY c.first_window, c.part',
      [reportId, number, sourceId, first, last],
    ),
  );
  return (
    counted &&
    new Map(
      counted.rows.map(([firstWindow, part, count]) => [
        keyOf({ firstWindow: Number(asBigint(firstWindow)), part: Number(asBigint(part)) }),
        asBigint(count),
      ]),
    )
  );
}

async function ifThere(asked: Promise<ResultSet>): Promise<ResultSet | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (!isTidemarkError(error, 'TABLE_MISSING')) throw error;
    return undefined;
  }
}

const named = ({ reportId, generation, sourceId }: Scope) => ({
  reportId: BigInt(reportId),
  generation: BigInt(generation),
  sourceId: BigInt(sourceId),
});

const STATE_WORDS: Readonly<Record<KnownTask['state'], string>> = {
  [KNOWN_STATE.open]: 'under way',
  [KNOWN_STATE.done]: 'merged',
  [KNOWN_STATE.leaving]: 'on its way to a hole',
  [KNOWN_STATE.hole]: 'a hole',
};

function tellRows(scope: Scope, { firstWindow, lastWindow, part, applied, merged }: Row, count: bigint) {
  const where = { firstWindow: BigInt(firstWindow), lastWindow: BigInt(lastWindow), part };
  return difference(
    'CONTRIBUTION_ROWS',
    { ...named(scope), ...where },
    {
      log: `the ledger says ${merged} rows under token ${applied}`,
      database: `${count} rows are there`,
    },
  );
}

function tell(
  code: DifferenceCode,
  scope: Scope,
  { firstWindow, lastWindow, part }: Place,
  task: KnownTask | undefined,
  row: Row | undefined,
): Difference {
  const where = { firstWindow: BigInt(firstWindow), lastWindow: BigInt(lastWindow), part };
  const log =
    task === undefined
      ? 'no such task'
      : `${STATE_WORDS[task.state]} under token ${task.token}, ` +
        `windows ${task.firstWindow}-${task.lastWindow}`;
  const database =
    row === undefined
      ? 'no row'
      : `${row.hole ? 'a hole' : `token ${row.applied}`}, floor ${row.floor}, ` +
        `windows ${row.firstWindow}-${row.lastWindow}`;
  return difference(code, { ...named(scope), ...where }, { log, database });
}
