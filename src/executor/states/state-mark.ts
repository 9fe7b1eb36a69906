/**
 * The mark of a source's row states on a store shard: up to where they are, under which grant, and below
 * which window they have holes. After a restore of the cluster its token tells whose windows it counts.
 */
import { mutated } from '../../base/index.ts';
import { STATE_MARK_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import type { FormerChain } from '../../wire/index.ts';
import { asBigint } from '../sink/values.ts';

export interface StateMark {
  readonly window: number;
  /** Of the grant that brought it there. */
  readonly token: bigint;
  /** States as of an earlier window have holes: versions that ended up to this one were dropped. */
  readonly dropped: number;
  /** Grants with a lower token are of a former chain. */
  readonly chain: bigint;
}

const COLUMNS = '_window, _token, _dropped, _chain';

/** Makes the statement that creates the table of marks; it is harmless when repeated. */
export function markTableSql(dialect: Dialect): string {
  const big = `${dialect.columnType('BIGINT')} NOT NULL`;
  const counters = COLUMNS.split(', ').map((name) => `${name} ${big} DEFAULT 0`);
  const columns = `_source ${big} PRIMARY KEY, ${counters.join(', ')}`;
  return `CREATE TABLE IF NOT EXISTS ${STATE_MARK_TABLE} (${columns})`;
}

/** Reads the mark; where nothing was advanced yet it is 0. @throws TidemarkError those of the engine. */
export async function readStateMark(connection: SqlConnection, sourceId: number): Promise<StateMark> {
  return readMark(connection, sourceId, '');
}

/** Reads the mark, and locks it until the transaction ends. @throws TidemarkError those of the engine. */
export async function lockStateMark(
  connection: SqlConnection,
  { forUpdate }: Dialect,
  sourceId: number,
): Promise<StateMark> {
  return readMark(connection, sourceId, forUpdate);
}

async function readMark(connection: SqlConnection, sourceId: number, lock: string): Promise<StateMark> {
  const { rows } = await connection.query(
    `SELECT ${COLUMNS} FROM ${STATE_MARK_TABLE} WHERE _source = ?${lock}`,
    [sourceId],
  );
  const [window = 0n, token = 0n, dropped = 0n, chain = 0n] = (rows[0] ?? []).map(asBigint);
  return { window: Number(window), token, dropped: Number(dropped), chain };
}

/**
 * The last window of this cluster's chain that row states under this mark hold: those that were put in before
 * a restore count up to where the chains part.
 */
export function heldWindow({ window, token }: StateMark, formerChains: readonly FormerChain[]): number {
  const ends = formerChains.filter(({ below }) => token < below).map(({ lastWindow }) => Number(lastWindow));
  return mutated('states.foreignMarkRead') ? window : Math.min(window, ...ends);
}
