/**
 * Leftovers: contribution rows under a token that does not stand. An attempt that ended while it staged has
 * left them, or a merge or retraction that replaced more rows than it may delete itself. Nobody counts them;
 * they go in bounded pieces.
 */
import { isTidemarkError, mutated } from '../../base/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import { OWNED, ownedBy } from './contribution.ts';
import { NO_TOKEN, removeSome } from './contribution-removal.ts';
import type { ReportLayout } from './layout.ts';
import { lockLedgerRow, type LedgerSpan } from './ledger.ts';
import { checkSink, type SinkGrant } from './sink-epoch.ts';
import { readStage } from './stage-row.ts';
import { repeatable, type SinkContext } from './transaction.ts';

export interface LeftoversInput {
  readonly grant: SinkGrant;
  readonly layout: ReportLayout;
  readonly span: LedgerSpan;
  /** Whether they have stood: then folding is to look at their keys. */
  readonly notes: boolean;
}

/**
 * Deletes the rows of a task that neither stand nor are being staged.
 * @throws TidemarkError as `mergeContribution`.
 */
export async function clearLeftovers(context: SinkContext, input: LeftoversInput): Promise<void> {
  for (;;) {
    const cleared = await repeatable(context, `clear ${input.span.firstWindow}`, (connection) =>
      clearSome(connection, context.engine.dialect, input),
    );
    if (cleared || context.cancelled()) return;
  }
}

/**
 * As {@link clearLeftovers}, for whoever has done what counts already: what goes wrong is told, and left to
 * folding.
 */
export async function tryToClear(context: SinkContext, input: Omit<LeftoversInput, 'notes'>): Promise<void> {
  try {
    await clearLeftovers(context, { ...input, notes: true });
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    context.log.warn({ error: error.message }, 'rows of a replaced contribution are left over');
  }
}

/** True when none are left. */
async function clearSome(
  connection: SqlConnection,
  dialect: Dialect,
  { grant, layout, span, notes }: LeftoversInput,
): Promise<boolean> {
  const folded = await checkSink(connection, dialect, grant, span);
  // What is folded is swept by folding.
  if (span.firstWindow <= folded) return true;
  const { applied } = await lockLedgerRow(connection, dialect, span);
  const stage = await readStage(connection, span);
  const isLive = stage !== undefined && stage.pieces > 0 && !mutated('stage.clearsLive');
  const kept = [NO_TOKEN, applied, ...(isLive ? [stage.token] : [])];
  const where = `${OWNED}${kept.map(() => ' AND token <> ?').join('')}`;
  return removeSome(connection, dialect, layout, { where, params: [...ownedBy(span), ...kept], notes });
}
