/**
 * What a cluster knows of a report database's ledger, laid beside it in a table of its own, so that the two
 * are compared by SQL: neither side's memory grows with the ledger. `run` keeps comparisons apart: it is the
 * sink epoch.
 */
import { mutated, TidemarkError } from '../../base/index.ts';
import { KNOWN_TABLE } from '../../job/index.ts';
import type { SqlConnection, SqlEngine } from '../../sql/index.ts';
import type { ReportLayout } from './layout.ts';
import type { Scope } from './sink-epoch.ts';

/** A report generation with its source, as a cluster knows it. */
export interface KnownGeneration {
  readonly layout: ReportLayout;
  readonly sourceId: number;
  /** What the ledger says of windows below this one is left as it is: the cluster forgot them. */
  readonly keptFrom: number;
  /** False: its tables may never have been made. */
  readonly prepared: boolean;
}

export const scopeOf = ({ layout, sourceId }: KnownGeneration): Scope => ({
  reportId: layout.reportId,
  generation: layout.generation,
  sourceId,
});

/** What the ledger must say of a task. Numbers, because SQL compares them. */
export const KNOWN_STATE = {
  /** Not finished: nothing need be there yet. */
  open: 1,
  /** Merged under its token. */
  done: 2,
  /** On the way to a hole. */
  leaving: 3,
  hole: 4,
} as const;

export interface KnownTask {
  readonly reportId: number;
  readonly generation: number;
  readonly sourceId: number;
  readonly firstWindow: number;
  readonly lastWindow: number;
  readonly part: number;
  readonly token: bigint;
  readonly state: (typeof KNOWN_STATE)[keyof typeof KNOWN_STATE];
  /** The latest seal among the windows of its span. */
  readonly seal: bigint;
}

const COLUMNS = [
  'run',
  'report_id',
  'generation',
  'source_id',
  'first_window',
  'part',
  'last_window',
  'token',
  'state',
  'seal',
] as const;

/** Writes what is known under `run`, piece by piece; returns how many tasks it was. */
export async function stageKnown(
  engine: SqlEngine,
  run: bigint,
  pieces: AsyncIterable<readonly KnownTask[]>,
): Promise<number> {
  await drop(engine, run, mutated('sink.olderStagingDropped') ? 'run <= ?' : 'run = ?');
  let staged = 0;
  for await (const piece of pieces) {
    const rows = piece.map((task) => [
      run,
      task.reportId,
      task.generation,
      task.sourceId,
      task.firstWindow,
      task.part,
      task.lastWindow,
      task.token,
      task.state,
      task.seal,
    ]);
    if (rows.length > 0) {
      await engine.use('reconcile', (connection) => connection.insertRows(KNOWN_TABLE, COLUMNS, rows));
    }
    staged += rows.length;
  }
  return staged;
}

/**
 * Makes sure that what is known lies there whole. A server that has taken over from the one where it was
 * staged may lack the last pieces, and what the cluster stands for would be retracted.
 * @throws TidemarkError `SINK_LOSS` if it does not; the leader grants another epoch, and it is staged anew.
 */
export async function requireKnown(connection: SqlConnection, run: bigint, staged: number): Promise<void> {
  const { rows } = await connection.query(`SELECT COUNT(*) FROM ${KNOWN_TABLE} WHERE run = ?`, [run]);
  const found = Number(rows[0]?.[0] ?? 0);
  if (found === staged || mutated('sink.knownInPart')) return;
  throw new TidemarkError(
    'SINK_LOSS',
    `the report database has ${found} of ${staged} tasks that were staged for comparison`,
  );
}

/**
 * Removes what was staged under `run`, and what tries before it have left. Only once its epoch is set: an
 * earlier try that is still on its way would take what the cluster knows for nothing, and retract everything.
 */
export async function dropKnown(engine: SqlEngine, run: bigint): Promise<void> {
  await drop(engine, run, 'run <= ?');
}

async function drop(engine: SqlEngine, run: bigint, where: string): Promise<void> {
  await engine.use('reconcile', (connection) =>
    connection.query(`DELETE FROM ${KNOWN_TABLE} WHERE ${where}`, [run]),
  );
}

/** Joins the ledger, as `l`, with what is known of it under `run`, as `k`. One parameter: the run. */
export const LEFT_JOIN_KNOWN =
  `LEFT JOIN ${KNOWN_TABLE} AS k ON k.run = ? AND k.report_id = l.report_id ` +
  'AND k.generation = l.generation AND k.source_id = l.source_id ' +
  'AND k.first_window = l.first_window AND k.part = l.part';
