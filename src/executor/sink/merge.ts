/**
 * The fenced merge (design 6.8): one transaction that checks who may write, and exchanges what a task added
 * to the report before for what it adds now. Sent twice, late, or by two racing copies, it counts once.
 */
import { assert, failpoint, mutated, type FencingToken } from '../../base/index.ts';
import { WATERMARK_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import type { ReportLayout } from './layout.ts';
import { lockLedgerRow, writeApplied, type LedgerSpan } from './ledger.ts';
import { exchange, insertContribution, type HeldContribution } from './contribution.ts';
import { takeStaged, type StagedContribution } from './staging.ts';
import { checkSink, SCOPE_WHERE, scopeParams, type SinkGrant } from './sink-epoch.ts';
import { repeatable, type SinkContext } from './transaction.ts';
import { raiseWatermark } from './watermark.ts';

/** What one span adds to a report: rows in memory, or rows that one attempt has staged. */
export type Contribution = HeldContribution | StagedContribution;

export interface MergeInput {
  readonly grant: SinkGrant;
  readonly layout: ReportLayout;
  readonly span: LedgerSpan;
  readonly token: FencingToken;
  readonly contribution: Contribution;
}

export type MergeResult =
  /** The contribution under this token stands. */
  | { readonly result: 'DONE'; readonly replaced: boolean; readonly foundDone: boolean }
  /** A newer version was here, or the window is folded away; nothing was changed. */
  | { readonly result: 'FENCED' }
  | { readonly result: 'FOLDED' };

/**
 * Merges a contribution under a token, or finds out why not.
 *
 * @throws TidemarkError `SINK_EPOCH`, `SINK_OF_OTHER_CLUSTER`, `VALUE_RANGE`, and those of the engine;
 * nothing was changed then, except after `DB_OUTCOME_UNKNOWN`.
 */
export async function mergeContribution(context: SinkContext, input: MergeInput): Promise<MergeResult> {
  assert(input.span.lastWindow >= input.span.firstWindow, 'a span has at least one window');
  const { dialect } = context.engine;
  return repeatable(context, `merge ${input.token}`, async (connection) => {
    const folded = await checkSink(connection, dialect, input.grant, input.span);
    const merged = await mergeIn(connection, dialect, input, folded);
    if (merged.result !== 'DONE') return merged;
    // The deliberate mistake commits the report first and the ledger on its own.
    if (mutated('merge.ledgerOutsideTransaction')) await commitHalfway(connection);
    const merges = input.layout.isOfCells ? 'cells' : 'contributions';
    await failpoint('executor.beforeMergeCommit', { token: String(input.token), merges });
    if (!merged.foundDone)
      await writeApplied(connection, input.span, input.token, rowsOf(input.contribution));
    await raiseWatermark(connection, dialect, input.span, folded);
    // The deliberate mistake takes the leader's word that all before it is merged.
    if (mutated('merge.watermarkFromRaft')) await claimWatermark(connection, input.span);
    await failpoint('executor.atMergeCommit', { token: String(input.token) });
    return merged;
  });
}

const FENCED: MergeResult = { result: 'FENCED' };

async function mergeIn(
  connection: SqlConnection,
  dialect: Dialect,
  input: MergeInput,
  folded: number,
): Promise<MergeResult> {
  const { span, token, layout } = input;
  if (span.firstWindow <= folded && !mutated('merge.ignoreFoldMark')) {
    return { result: 'FOLDED' };
  }
  const ledger = await lockLedgerRow(connection, dialect, span);
  // The deliberate mistake looks at the ledger and lets go of it.
  if (mutated('merge.checkedApart')) await commitHalfway(connection);
  if (ledger.applied === token && !mutated('merge.reapplySameToken')) {
    return { result: 'DONE', replaced: false, foundDone: true };
  }
  if (ledger.floor > token && !mutated('merge.ignoreFloor')) return FENCED;
  const { contribution } = input;
  const owner = { sourceId: span.sourceId, firstWindow: span.firstWindow, part: span.part, token };
  const staged = 'attempt' in contribution;
  if (staged) {
    // Another attempt under this token has taken the stage over: a version of its own settles which counts.
    if (!(await takeStaged(connection, input, contribution))) return FENCED;
  } else await insertContribution(connection, layout, owner, contribution);
  const older = ledger.applied;
  await exchange(connection, dialect, layout, owner, { older, rows: rowsOf(contribution), staged });
  return { result: 'DONE', replaced: older !== 0n, foundDone: false };
}

/** How many rows a contribution has. */
export function rowsOf(contribution: Contribution): number {
  if ('attempt' in contribution) return contribution.rows;
  return contribution.multisets.reduce((sum, rows) => sum + rows.length, contribution.additive.length);
}

async function commitHalfway(connection: SqlConnection): Promise<void> {
  await connection.commit();
  await connection.begin('write');
}

async function claimWatermark(connection: SqlConnection, span: LedgerSpan): Promise<void> {
  await connection.query(
    `UPDATE ${WATERMARK_TABLE} SET last_window = ? WHERE ${SCOPE_WHERE} AND last_window < ?`,
    [span.lastWindow, ...scopeParams(span), span.lastWindow],
  );
}
