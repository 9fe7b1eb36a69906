/**
 * Change tables of MySQL are partitioned by the day of their windows (decision 0011): a day whose windows are
 * all up to the horizon goes in one step, and with it the room it took on disk. Days are made ahead; rows of
 * a day that has no partition lie in the last one: no row is ever refused for its day.
 *
 * The embedded engine has no partitions: there all of this does nothing.
 */
import { mutated } from '../../base/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';

/** How long nothing may be dropped before rows of a new day have no partition of their own. */
const DAYS_AHEAD = 3;
/** A window keeps the day on which it was opened: one that is open may belong to yesterday. */
const DAYS_OPEN = 2;
const DAY_MS = 86_400_000;
const REST = 'p_rest';
const LOCK_WAIT_SECONDS = 5;

/** The clause of CREATE TABLE: today and the days ahead. */
export function dayPartitionsClause(dialect: Dialect, wallMs: number): string {
  if (dialect.kind === 'embedded') return '';
  const days = Array.from({ length: DAYS_AHEAD + 1 }, (_, at) => dayOf(wallMs + at * DAY_MS));
  return ` PARTITION BY RANGE COLUMNS (_day) (${[...days.map(partitionOf), partitionOfRest].join(', ')})`;
}

/**
 * Drops days whose windows are all up to `horizon`, and makes those ahead that are missing.
 * @throws TidemarkError `DB_BUSY` when readers hold the table for seconds, and those of the engine.
 */
export async function keepDayPartitions(
  connection: SqlConnection,
  dialect: Dialect,
  input: {
    readonly table: string;
    readonly sourceId: number;
    readonly horizon: number;
    readonly wallMs: number;
  },
): Promise<void> {
  if (dialect.kind === 'embedded') return;
  const table = dialect.id(input.table);
  const days = await partitionedDays(connection, input.table);
  const before = dayOf(input.wallMs - DAYS_OPEN * DAY_MS);
  const finished: string[] = [];
  // The last one stays: the days ahead are counted on from it.
  for (const day of days.slice(0, -1).filter((one) => one <= before)) {
    if (await isFinished(connection, table, day, input)) finished.push(day);
  }
  const missing = await missingDays(connection, table, days, input.wallMs);
  if (finished.length === 0 && missing.length === 0) return;
  // Others wait behind a change of the table that waits for a reader.
  await connection.query(`SET SESSION lock_wait_timeout = ${LOCK_WAIT_SECONDS}`);
  if (finished.length > 0) {
    await connection.query(`ALTER TABLE ${table} DROP PARTITION ${finished.map(nameOf).join(', ')}`);
  }
  if (missing.length > 0) {
    const parts = [...missing.map(partitionOf), partitionOfRest].join(', ');
    await connection.query(`ALTER TABLE ${table} REORGANIZE PARTITION ${REST} INTO (${parts})`);
  }
  await connection.query('SET SESSION lock_wait_timeout = DEFAULT');
}

const dayOf = (wallMs: number): string => new Date(wallMs).toISOString().slice(0, 10);
const nameOf = (day: string): string => `p${day.replaceAll('-', '')}`;
const partitionOf = (day: string): string =>
  `PARTITION ${nameOf(day)} VALUES LESS THAN ('${dayOf(Date.parse(day) + DAY_MS)}')`;
const partitionOfRest = `PARTITION ${REST} VALUES LESS THAN (MAXVALUE)`;

/** Days that have a partition, in their order; empty for a table that has none. */
async function partitionedDays(connection: SqlConnection, table: string): Promise<string[]> {
  const { rows } = await connection.query(
    'SELECT partition_name FROM information_schema.partitions ' +
      'WHERE table_schema = DATABASE() AND table_name = ? AND partition_name IS NOT NULL ' +
      'ORDER BY partition_ordinal_position',
    [table],
  );
  return rows.flatMap(([name]) => {
    const [, year, month, day] = /^p(\d{4})(\d\d)(\d\d)$/.exec(String(name)) ?? [];
    return day === undefined ? [] : [`${year}-${month}-${day}`];
  });
}

/** Told from the primary key alone; the first day holds what is older, too. */
async function isFinished(
  connection: SqlConnection,
  table: string,
  day: string,
  { sourceId, horizon }: { readonly sourceId: number; readonly horizon: number },
): Promise<boolean> {
  const { rows } = await connection.query(
    `SELECT MAX(_window) FROM ${table} PARTITION (${nameOf(day)}) WHERE _source = ? GROUP BY _epoch, _day`,
    [sourceId],
  );
  return mutated('collector.dropsDayAboveHorizon') || rows.every(([last]) => Number(last) <= horizon);
}

/** The last partition is cut only while it is empty: what lies in it would be copied under a lock. */
async function missingDays(
  connection: SqlConnection,
  table: string,
  days: readonly string[],
  wallMs: number,
): Promise<string[]> {
  const latest = days.at(-1);
  if (latest === undefined) return [];
  const missing: string[] = [];
  for (let at = Date.parse(latest) + DAY_MS; at <= wallMs + DAYS_AHEAD * DAY_MS; at += DAY_MS) {
    missing.push(dayOf(at));
  }
  if (missing.length === 0) return [];
  const { rows } = await connection.query(`SELECT 1 FROM ${table} PARTITION (${REST}) LIMIT 1`);
  // After years of silence the days between are nobody's.
  return rows.length > 0 ? [] : missing.slice(-DAYS_AHEAD - 1);
}
