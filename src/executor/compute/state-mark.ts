/** Whether a store shard's row states hold a span's windows as this cluster has sealed them (design 6.6). */
import { must, mutated, TidemarkError } from '../../base/index.ts';
import type { SqlConnection } from '../../sql/index.ts';
import type { FormerChain } from '../../wire/index.ts';
import { heldWindow, readStateMark } from '../states/index.ts';
import type { WindowsOfShard } from './completeness.ts';

export interface StatesOfSpan extends WindowsOfShard {
  /** What the cluster was restored from: a replica may be as it was before. */
  readonly formerChains: readonly FormerChain[];
  /** The states as of the last window alone are read, else also those before the first one. */
  readonly fromStates: boolean;
}

/**
 * Checks the mark of the row states, in the snapshot that the report's SQL will read too. Row versions are
 * valid for ranges of windows, so later windows that are held as well do no harm.
 * @throws TidemarkError `STATE_BEHIND`; `HISTORY_DROPPED` where versions are gone that a state had.
 */
export async function checkStates(connection: SqlConnection, input: StatesOfSpan): Promise<void> {
  const mark = await readStateMark(connection, input.sourceId);
  const held = heldWindow(mark, input.formerChains);
  const last = Number(must(input.windows.at(-1), 'a window').window);
  const where = `the row states of source ${input.source.name} on store shard ${input.shard}`;
  if (held < last && !mutated('states.markIgnored')) {
    throw new TidemarkError('STATE_BEHIND', `${where} hold window ${held}, the span ends with ${last}`, {
      details: { mark: String(held), window: String(last), shard: input.shard },
    });
  }
  const first = Number(must(input.windows[0], 'a window').window);
  // Before window 1 there was nothing.
  const oldest = input.fromStates || first === 1 ? last : first - 1;
  if (mark.dropped > oldest && !mutated('states.holesRead')) {
    const why = `versions up to window ${mark.dropped} are dropped, the state as of ${oldest} is read`;
    throw new TidemarkError('HISTORY_DROPPED', `${where} have holes: ${why}`);
  }
}
