/** What an audit finds: a place where the log and a database say different things. */
import type { AuditDifference } from '../../wire/index.ts';

/** What kinds there are; each is explained in docs/how-to/audit.md. */
export type DifferenceCode =
  | 'SINK_OF_OTHER_CLUSTER'
  | 'SINK_SERVER'
  | 'SINK_EPOCH'
  | 'GENERATION_UNKNOWN'
  | 'TABLE_MISSING'
  | 'FOLD_MARK_MISSING'
  | 'FOLD_MARK_BEHIND'
  | 'FOLD_MARK_AHEAD'
  | 'FOLD_MARK_SEAL'
  | 'WATERMARK_MISSING'
  | 'WATERMARK_WRONG'
  | 'LEDGER_MISSING'
  | 'LEDGER_UNKNOWN'
  | 'LEDGER_SPAN'
  | 'LEDGER_TOKEN'
  | 'LEDGER_HOLE'
  | 'CONTRIBUTION_ROWS'
  | 'STATE_MARK_BEHIND'
  | 'STATE_MARK_AHEAD'
  | 'STATE_MARK_TOKEN';

export type Difference = Omit<AuditDifference, 'code'> & { readonly code: DifferenceCode };

const NOWHERE = {
  reportId: 0n,
  generation: 0n,
  sourceId: 0n,
  shard: '',
  firstWindow: 0n,
  lastWindow: 0n,
  part: 0,
};

/**
 * Makes a difference. What `log` says must not change while the difference stands: an audit looks twice, and
 * takes for real what it finds word for word both times.
 */
export function difference(
  code: DifferenceCode,
  where: Partial<typeof NOWHERE>,
  says: { readonly log: string; readonly database: string },
): Difference {
  return { ...NOWHERE, ...where, code, ...says };
}
