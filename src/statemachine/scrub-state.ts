/**
 * Compares what is held with what it should be, while it is in use: rows in memory with their hashes, and the
 * rows that the database shows with the digest of the same moment. A row that LevelDB has lost, or that has
 * come back, is found by the sum.
 */
import { mutated, TidemarkError } from '../base/index.ts';
import type { MemoryState } from './memory-state.ts';
import { checkRow } from './row-codec.ts';
import { HashSum } from './row-hash.ts';
import type { StateStore } from './state-store.ts';

/** What is checked between two yields, at most: a millisecond or two. */
const STEP = { rows: 1_000, bytes: 512 * 1024 };
/** Of records, which are encoded to be compared. */
const RECORD_STEP_BYTES = 128 * 1024;

/**
 * Yields after each step, for the caller to rest.
 * @throws TidemarkError `DATA_CORRUPT`: the process must end before it serves what is wrong.
 */
export async function* scrubState(
  state: () => MemoryState,
  store: StateStore,
): AsyncGenerator<void, void, undefined> {
  let next: number | undefined = 0;
  while (next !== undefined) {
    next = state().keyValues.checkFrom(next, STEP);
    yield;
  }
  for (const step of state().checkRecords(RECORD_STEP_BYTES)) yield step;
  const sum = new HashSum();
  let digest = '';
  let rows = 0;
  for await (const piece of store.read()) {
    if ('head' in piece) {
      ({ digest } = piece.head);
      continue;
    }
    for (const { fullKey, bytes } of piece.rows) sum.add(checkRow(fullKey, bytes));
    rows += piece.rows.length;
    if (rows < STEP.rows) continue;
    rows = 0;
    yield;
  }
  if (sum.text === digest || mutated('state.scrubIgnoresSum')) return;
  throw new TidemarkError('DATA_CORRUPT', `the state's rows sum to ${sum.text}, its head says ${digest}`, {
    next:
      'Look at memory and disk of this machine. Then empty the state folder and start this coordinator ' +
      'again: the state is made anew of its log, or fetched from the others, who must be a majority that ' +
      'has caught up.',
  });
}
