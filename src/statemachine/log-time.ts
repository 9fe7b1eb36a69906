/**
 * Log time (design section 4) is what leases, delays and deadlines of the replicated state are measured in:
 * the last log time plus the leader's monotonic elapsed time. Wall clocks play no part in it.
 */
import { assert } from '../base/index.ts';

/**
 * Computes the log time to stamp on the next entry, in whole milliseconds. A leader takes `lastLogTimeMs`
 * from its applied state once, when it begins to lead, and `elapsedMs` is monotonic time since then.
 */
export function nextLogTime(input: { readonly lastLogTimeMs: number; readonly elapsedMs: number }): number {
  assert(input.elapsedMs >= 0, 'monotonic time does not go back');
  const next = input.lastLogTimeMs + Math.floor(input.elapsedMs);
  assert(Number.isSafeInteger(next) && next >= 0, 'log time is a whole number of milliseconds');
  return next;
}
