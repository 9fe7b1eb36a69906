/**
 * Takes contribution rows away, in the order of their table's key and as many as one transaction may. Of each
 * key a row of zeros stays, under no token: folding looks at it, since nothing else tells that the report may
 * have a row of zeros there.
 */
import { LIMITS, mutated } from '../../base/index.ts';
import type { Dialect, QueryOptions, SqlConnection } from '../../sql/index.ts';
import { answerFor, countRows, type Rows } from './answer-time.ts';
import { OWNED, ownedBy, pairsOf, type ContributionOwner, type Pair } from './contribution.ts';
import { takeCellsBack } from './cells.ts';
import { CONTRIBUTION_KEY, type ReportLayout } from './layout.ts';

/** The token of rows that only note a key. */
export const NO_TOKEN = 0n;

/**
 * Removes what stood before, as far as one transaction may.
 * @returns false if there is more: it is left over, and cleared later (leftovers.ts).
 */
export async function removeOlder(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  older: ContributionOwner,
): Promise<boolean> {
  const rows = { where: `${OWNED} AND token = ?`, params: [...ownedBy(older), older.token] };
  return removeSome(connection, dialect, layout, { ...rows, notes: true });
}

/**
 * Takes the contributions of many spans of one source out of the report. Of large ones rows are left over
 * until they are folded or the task is done again.
 */
export async function removeContributions(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  owners: readonly ContributionOwner[],
): Promise<void> {
  const where = owners.map(() => `(${OWNED} AND token = ?)`).join(' OR ');
  const params = owners.flatMap((owner) => [...ownedBy(owner), owner.token]);
  if (layout.isOfCells) await takeCellsBack(connection, dialect, layout, owners[0]?.sourceId ?? 0, owners);
  for (const pair of layout.isOfCells ? [] : pairsOf(layout)) {
    await subtract(connection, dialect, pair, { where, params });
  }
  await removeSome(connection, dialect, layout, { where: `(${where})`, params, notes: true });
}

async function subtract(
  connection: SqlConnection,
  dialect: Dialect,
  pair: Pair,
  { where, params }: Rows,
): Promise<void> {
  const keys = pair.keys.map((key) => `c.${key}`).join(', ');
  const sums = pair.sums.map((sum) => `SUM(-1 * c.${sum})`).join(', ');
  const rows = `FROM ${dialect.id(pair.contributions)} AS c WHERE ${where}`;
  const source = `SELECT ${keys}, ${sums} ${rows} GROUP BY ${keys} ORDER BY ${keys}`;
  const columns = [...pair.keys, ...pair.sums];
  await connection.query(
    dialect.upsert({ table: pair.table, columns, source, key: pair.keys, add: pair.sums }),
    params,
    answerFor(await countRows(connection, `${dialect.id(pair.contributions)} AS c`, { where, params })),
  );
}

/**
 * False if there may be more. Of cells everything goes at once: among them whatever is there counts, standing
 * or not (cells.ts).
 */
export async function removeSome(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  rows: Rows & { readonly notes: boolean },
): Promise<boolean> {
  let left = layout.isOfCells ? Number.MAX_SAFE_INTEGER : LIMITS.leftoversClearedAtOnce;
  for (const pair of pairsOf(layout)) {
    const from = dialect.id(pair.contributions);
    const answer = layout.isOfCells ? answerFor(await countRows(connection, from, rows)) : {};
    const some = { ...rows, left, answer };
    if (rows.notes) await noteKeys(connection, dialect, pair, some);
    left -= await deleteSome(connection, dialect, pair, some);
    if (left <= 0) return false;
  }
  return true;
}

interface Some extends Rows {
  readonly left: number;
  /** Where `left` does not bound what a statement takes. */
  readonly answer?: QueryOptions;
}

const keyOf = (pair: Pair): string => [...CONTRIBUTION_KEY, ...pair.keys].join(', ');

/** Deletes at most `left` rows of a contribution table, and returns how many. */
export async function deleteSome(
  connection: SqlConnection,
  dialect: Dialect,
  pair: Pair,
  { where, params, left, answer }: Some,
): Promise<number> {
  const table = dialect.id(pair.contributions);
  const key = keyOf(pair);
  const some = `WHERE ${where} ORDER BY ${key} LIMIT ${left}`;
  const sql =
    dialect.kind === 'mysql'
      ? `DELETE FROM ${table} ${some}`
      : `DELETE FROM ${table} WHERE (${key}) IN (SELECT ${key} FROM ${table} ${some})`;
  return (await connection.query(sql, params, answer)).changes;
}

/** Notes the keys of rows that are about to go. */
async function noteKeys(
  connection: SqlConnection,
  dialect: Dialect,
  pair: Pair,
  { where, params, left, answer }: Some,
): Promise<void> {
  if (mutated('merge.retractedKeysForgotten')) return;
  const place = ['source_id', 'first_window', 'part'];
  const some =
    `SELECT ${[...place, ...pair.keys].join(', ')} FROM ${dialect.id(pair.contributions)} ` +
    `WHERE ${where} ORDER BY ${keyOf(pair)} LIMIT ${left}`;
  const selected = [...place.map((column) => `c.${column}`), String(NO_TOKEN)];
  const list = [...selected, ...pair.keys.map((key) => `c.${key}`), ...pair.zeros].join(', ');
  const sql = dialect.insertIgnore({
    table: pair.contributions,
    columns: [...CONTRIBUTION_KEY, ...pair.keys, ...pair.sums],
    // The condition keeps SQLite from taking what follows for a part of a join.
    source: `SELECT DISTINCT ${list} FROM (${some}) AS c WHERE 1 = 1`,
    key: [...CONTRIBUTION_KEY, ...pair.keys],
  });
  await connection.query(sql, params, answer);
}
