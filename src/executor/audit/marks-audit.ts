/**
 * Compares what a report database says of itself and of each generation as a whole: owner, epoch and server,
 * which generations there are, fold marks, and the watermark against the ledger beside it.
 */
import { isTidemarkError, mutated } from '../../base/index.ts';
import { FOLD_TABLE, LEDGER_TABLE, WATERMARK_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import type { KnownGeneration } from '../sink/known-tasks.ts';
import { missingTables } from '../sink/missing-tables.ts';
import { checkStanding, SCOPE_WHERE, scopeParams, type Scope, type SinkGrant } from '../sink/sink-epoch.ts';
import { asBigint } from '../sink/values.ts';
import { readWatermark } from '../sink/watermark.ts';
import { difference, type Difference } from './difference.ts';
import { scopeOf } from './ledger-audit.ts';

/** A generation with what the leader knows of its marks. */
export interface AuditedGeneration extends KnownGeneration {
  readonly folded: { readonly window: number; readonly seal: bigint };
  /** Nothing beyond it may be folded. */
  readonly finalWindow: number;
}

/**
 * Compares owner, epoch and server. Undefined: they are as the leader says, and what else the database says
 * counts.
 */
export async function auditOwner(
  connection: SqlConnection,
  dialect: Dialect,
  grant: SinkGrant,
): Promise<Difference | undefined> {
  if (mutated('audit.epochPassed')) return undefined;
  try {
    await checkStanding(connection, dialect, grant);
    return undefined;
  } catch (error) {
    if (!isTidemarkError(error, 'SINK_OF_OTHER_CLUSTER', 'SINK_SERVER', 'SINK_EPOCH')) throw error;
    const code = error.code as 'SINK_OF_OTHER_CLUSTER' | 'SINK_SERVER' | 'SINK_EPOCH';
    return difference(code, {}, { log: `epoch ${grant.epoch}`, database: error.message });
  }
}

/**
 * Finds generations that the leader never made. Older generations of a report that it knows are what a
 * rebuilt report has left behind: they say nothing.
 */
export async function auditGenerations(
  connection: SqlConnection,
  known: readonly KnownGeneration[],
): Promise<Difference[]> {
  if (mutated('audit.generationPassed')) return [];
  const newest = new Map<number, number>();
  for (const { layout } of known) {
    const { reportId, generation } = layout;
    newest.set(reportId, Math.max(generation, newest.get(reportId) ?? 0));
  }
  const scopes = [LEDGER_TABLE, FOLD_TABLE, WATERMARK_TABLE]
    .map((table) => `SELECT report_id, generation, source_id FROM ${table}`)
    .join(' UNION ');
  const { rows } = await connection.query(`${scopes} ORDER BY 1, 2, 3`);
  return rows
    .map(([reportId, generation, sourceId]) => ({
      reportId: asBigint(reportId),
      generation: asBigint(generation),
      sourceId: asBigint(sourceId),
    }))
    .filter(({ reportId, generation }) => generation > (newest.get(Number(reportId)) ?? 0))
    .map((scope) =>
      difference('GENERATION_UNKNOWN', scope, {
        log: 'no such generation',
        database: 'rows in ledger, fold marks or watermarks',
      }),
    );
}

/** Compares a generation's tables, fold mark and watermark; in the snapshot that the ledger is read in. */
export async function auditMarks(
  connection: SqlConnection,
  dialect: Dialect,
  generation: AuditedGeneration,
): Promise<Difference[]> {
  const scope = scopeOf(generation);
  const where = {
    reportId: BigInt(scope.reportId),
    generation: BigInt(scope.generation),
    sourceId: BigInt(scope.sourceId),
  };
  const found: Difference[] = [];
  for (const table of await missingTables(connection, dialect, generation.layout)) {
    if (mutated('audit.tablePassed')) break;
    found.push(difference('TABLE_MISSING', where, { log: 'prepared', database: `no table ${table}` }));
  }
  const mark = await readFold(connection, scope);
  if (mark === undefined) {
    if (mutated('audit.foldMissingPassed')) return found;
    return [...found, difference('FOLD_MARK_MISSING', where, { log: 'prepared', database: 'no fold mark' })];
  }
  const fold = compareFold(generation, mark);
  if (fold !== undefined) found.push({ ...fold, ...where });
  const watermark = await auditWatermark(connection, scope, mark.window);
  if (watermark !== undefined) found.push({ ...watermark, ...where });
  return found;
}

async function readFold(
  connection: SqlConnection,
  scope: Scope,
): Promise<AuditedGeneration['folded'] | undefined> {
  const { rows } = await connection.query(
    `SELECT folded_window, folded_seal FROM ${FOLD_TABLE} WHERE ${SCOPE_WHERE}`,
    scopeParams(scope),
  );
  const [row] = rows;
  return row === undefined ? undefined : { window: Number(asBigint(row[0])), seal: asBigint(row[1]) };
}

/** The mark may be ahead of what the leader was told, as far as windows are FINAL; never behind it. */
function compareFold(
  { folded, finalWindow }: AuditedGeneration,
  mark: AuditedGeneration['folded'],
): Difference | undefined {
  const database = `folded to window ${mark.window}, sealed under ${mark.seal}`;
  const at = { firstWindow: BigInt(mark.window), lastWindow: BigInt(mark.window) };
  if (mark.window < folded.window && !mutated('audit.foldBehindPassed')) {
    return difference('FOLD_MARK_BEHIND', at, { log: `folded to window ${folded.window}`, database });
  }
  if (mark.window > finalWindow && !mutated('audit.foldAheadPassed')) {
    return difference('FOLD_MARK_AHEAD', at, { log: 'that window is not final', database });
  }
  if (mark.window === folded.window && mark.seal !== folded.seal && !mutated('audit.foldSealPassed')) {
    return difference('FOLD_MARK_SEAL', at, { log: `it was sealed under ${folded.seal}`, database });
  }
  return undefined;
}

/** Whoever writes the ledger raises the watermark in the same transaction: in a snapshot they agree. */
async function auditWatermark(
  connection: SqlConnection,
  scope: Scope,
  folded: number,
): Promise<Difference | undefined> {
  try {
    const { standing, reached } = await readWatermark(connection, scope, folded);
    const agree = standing.window === reached.window && standing.holes === reached.holes;
    if (agree || mutated('audit.watermarkPassed')) return undefined;
    return difference(
      'WATERMARK_WRONG',
      { firstWindow: BigInt(reached.window), lastWindow: BigInt(standing.window) },
      {
        log: `the ledger vouches for window ${reached.window} with ${reached.holes} holes`,
        database: `window ${standing.window} with ${standing.holes} holes`,
      },
    );
  } catch (error) {
    if (!isTidemarkError(error, 'SINK_LOSS')) throw error;
    return difference('WATERMARK_MISSING', {}, { log: 'prepared', database: 'no watermark' });
  }
}
