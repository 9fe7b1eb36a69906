/** Compares the mark of a source's row states on one store shard with what the leader knows (design 6.6). */
import { isTidemarkError, mutated } from '../../base/index.ts';
import { STATE_MARK_TABLE } from '../../job/index.ts';
import type { SqlEngine } from '../../sql/index.ts';
import { asBigint } from '../sink/values.ts';
import { difference, type Difference } from './difference.ts';

export interface AuditedStates {
  readonly sourceId: number;
  readonly shard: string;
  /** The shard holds this window at least. */
  readonly window: number;
  /** The last sealed window: no shard can hold a later one. */
  readonly lastWindow: number;
  /** No grant has a higher token. */
  readonly newestToken: bigint;
  /** A mark with a lower token is of before a restore: nobody has taken it back yet. */
  readonly oldestToken: bigint;
}

/** @throws TidemarkError those of the engine. */
export async function auditStates(engine: SqlEngine, known: AuditedStates): Promise<Difference[]> {
  const mark = await readMark(engine, known.sourceId);
  const where = { sourceId: BigInt(known.sourceId), shard: known.shard };
  const at = (window: number): object => ({ firstWindow: BigInt(window), lastWindow: BigInt(window) });
  const database = `window ${mark.window} under token ${mark.token}`;
  const found: Difference[] = [];
  if (mark.window < known.window && !mutated('audit.stateBehindPassed')) {
    const log = `window ${known.window} is in`;
    found.push(difference('STATE_MARK_BEHIND', { ...where, ...at(mark.window) }, { log, database }));
  }
  const isOurs = mark.token >= known.oldestToken;
  if (isOurs && mark.window > known.lastWindow && !mutated('audit.stateAheadPassed')) {
    const log = 'that window is not sealed';
    found.push(difference('STATE_MARK_AHEAD', { ...where, ...at(mark.window) }, { log, database }));
  }
  if (mark.token > known.newestToken && !mutated('audit.stateTokenPassed')) {
    const log = 'no grant has that token';
    found.push(difference('STATE_MARK_TOKEN', { ...where, ...at(mark.window) }, { log, database }));
  }
  return found;
}

/** Where nothing is written yet it is window 0. */
async function readMark(
  engine: SqlEngine,
  sourceId: number,
): Promise<{ readonly window: number; readonly token: bigint }> {
  try {
    const { rows } = await engine.use('audit', (connection) =>
      connection.query(`SELECT _window, _token FROM ${STATE_MARK_TABLE} WHERE _source = ?`, [sourceId]),
    );
    const [row] = rows;
    if (row !== undefined) return { window: Number(asBigint(row[0])), token: asBigint(row[1]) };
  } catch (error) {
    if (!isTidemarkError(error, 'TABLE_MISSING')) throw error;
  }
  return { window: 0, token: 0n };
}
