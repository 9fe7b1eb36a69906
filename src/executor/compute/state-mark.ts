/** Whether a store shard's row states hold the last window of a span (design 6.6). */
import { must, mutated, TidemarkError } from '../../base/index.ts';
import { STATE_MARK_TABLE } from '../../job/index.ts';
import type { SqlConnection } from '../../sql/index.ts';
import { asBigint } from '../sink/values.ts';
import type { WindowsOfShard } from './completeness.ts';

/**
 * Checks the mark of the row states, in the snapshot that the report's SQL will read too. Row versions are
 * valid for ranges of windows, so later windows that are held as well do no harm.
 * @throws TidemarkError `STATE_BEHIND`.
 */
export async function checkStates(connection: SqlConnection, input: WindowsOfShard): Promise<void> {
  const { rows } = await connection.query(`SELECT _window FROM ${STATE_MARK_TABLE} WHERE _source = ?`, [
    input.sourceId,
  ]);
  const mark = asBigint(rows[0]?.[0] ?? 0n);
  const last = must(input.windows.at(-1), 'a window').window;
  if (mark >= last || mutated('states.markIgnored')) return;
  const where = `the row states of source ${input.source.name} on store shard ${input.shard}`;
  throw new TidemarkError('STATE_BEHIND', `${where} hold window ${mark}, the span ends with ${last}`, {
    details: { mark: String(mark), window: String(last), shard: input.shard },
  });
}
