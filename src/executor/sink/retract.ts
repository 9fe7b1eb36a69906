/**
 * Taking a task out of a report (design 6.8: skip, cancel and dead): one transaction that raises the floor
 * to the task's newest token, takes its contribution away, and records the hole. A merge under an older
 * token that comes late is fenced.
 */
import { mutated, type FencingToken } from '../../base/index.ts';
import { removeContributions } from './contribution.ts';
import type { ReportLayout } from './layout.ts';
import { lockLedgerRow, writeHole, type LedgerSpan } from './ledger.ts';
import { checkSink, type SinkGrant } from './sink-epoch.ts';
import { repeatable, type SinkContext } from './transaction.ts';
import { raiseWatermark } from './watermark.ts';

export interface RetractInput {
  readonly grant: SinkGrant;
  readonly layout: ReportLayout;
  readonly span: LedgerSpan;
  readonly token: FencingToken;
  /** Why there is a hole: an error code. */
  readonly reason: string;
}

export type RetractResult = 'RETRACTED' | 'FENCED' | 'FOLDED';

/**
 * Retracts a task's contribution under a token.
 *
 * @throws TidemarkError as `mergeContribution`.
 */
export async function retractContribution(context: SinkContext, input: RetractInput): Promise<RetractResult> {
  const { span, token, layout } = input;
  const { dialect } = context.engine;
  return repeatable(context, `retract ${token}`, async (connection): Promise<RetractResult> => {
    const folded = await checkSink(connection, dialect, input.grant, span);
    if (span.firstWindow <= folded) return 'FOLDED';
    const ledger = await lockLedgerRow(connection, dialect, span);
    if (ledger.floor > token) return 'FENCED';
    if (ledger.applied !== 0n && !mutated('merge.skipKeepsContribution')) {
      const { sourceId, firstWindow, part } = span;
      const owner = { sourceId, firstWindow, part, token: ledger.applied };
      await removeContributions(connection, dialect, layout, [owner]);
    }
    await writeHole(connection, span, { token, reason: input.reason });
    await raiseWatermark(connection, dialect, span, folded);
    return 'RETRACTED';
  });
}
