/** What an audit finds, streamed by the leader. */
import { sleep, toTidemarkError, type TidemarkError } from '../base/index.ts';
import { ClientService, type AuditPiece } from '../wire/index.ts';
import type { LeaderCallOptions } from './leader-call.ts';

const AUDIT_FORMAT = 1;
const PAUSE_MS = 100;

/**
 * Reads the pieces of an audit. The leader is looked for until the deadline; then it may take its time.
 * @throws TidemarkError what the last coordinator asked has answered, or the one that broke off.
 */
export async function* readAudit(options: LeaderCallOptions): AsyncGenerator<AuditPiece, void, undefined> {
  const { endpoints, clock, deadlineMs } = options;
  const endsAt = clock.monotonicMs() + deadlineMs;
  for (;;) {
    const address = endpoints.preferred;
    let begun = false;
    let failure: TidemarkError;
    try {
      for await (const piece of endpoints.download(address, ClientService.audit, { format: AUDIT_FORMAT })) {
        begun = true;
        yield piece;
      }
      return;
    } catch (error) {
      failure = toTidemarkError(error);
    }
    const elsewhere = failure.retry === 'another-node' || failure.code === 'OUTCOME_UNKNOWN';
    if (begun || !elsewhere || clock.monotonicMs() + PAUSE_MS >= endsAt) throw failure;
    endpoints.prefer(failure.details['leader'], address);
    await sleep(clock, PAUSE_MS);
  }
}
