/**
 * Contributions as rows: what a span added to a report is kept under the token that added it, so that a
 * newer version can take exactly that away again. While both lie side by side, one statement per table adds
 * their difference.
 */
import { LIMITS, mutated } from '../../base/index.ts';
import type { Dialect, SqlConnection, SqlParam } from '../../sql/index.ts';
import { answerFor, countRows } from './answer-time.ts';
import { exchangeCells } from './cells.ts';
import { CONTRIBUTION_KEY, ROW_COUNT, type ReportLayout } from './layout.ts';

/** Rows of one table of a contribution, in the column order of its layout. */
export type ContributionRows = readonly (readonly SqlParam[])[];

/** What one span adds to a report, as far as it is held in memory. */
export interface HeldContribution {
  /** Keys, then the layout's additive columns. */
  readonly additive: ContributionRows;
  /** One per multiset of the layout, in its order: keys, value, weight. */
  readonly multisets: readonly ContributionRows[];
}

/** A span's first window and part of one source. */
interface Place {
  readonly sourceId: number;
  readonly firstWindow: number;
  readonly part: number;
}

/** Whose contribution: its place, and the token under which it lies. */
export interface ContributionOwner extends Place {
  readonly token: bigint;
}

/** A table of a report beside the one that holds the contributions to it. */
export interface Pair {
  readonly table: string;
  readonly contributions: string;
  readonly keys: readonly string[];
  readonly sums: readonly string[];
  /** What a row that says nothing has in them. */
  readonly zeros: readonly string[];
}

export const OWNED = 'source_id = ? AND first_window = ? AND part = ?';
export const ownedBy = (place: Place): SqlParam[] => [place.sourceId, place.firstWindow, place.part];

function additivePair(layout: ReportLayout): Pair {
  return {
    table: layout.table,
    contributions: layout.contributionTable,
    keys: layout.keys.map((key) => key.column),
    sums: layout.additive.map((sum) => sum.column),
    zeros: layout.additive.map(({ of }) => (of === 'cell' ? 'NULL' : '0')),
  };
}

function multisetPairs(layout: ReportLayout): Pair[] {
  return layout.multisets.map((multiset) => ({
    table: multiset.table,
    contributions: multiset.contributionTable,
    keys: [...layout.keys.map((key) => key.column), 'value'],
    sums: ['weight'],
    zeros: ['0'],
  }));
}

/** The order in which every merge takes its locks: the report's own rows, then the multisets. */
export function pairsOf(layout: ReportLayout): Pair[] {
  return [additivePair(layout), ...multisetPairs(layout)];
}

/** Writes the contribution's rows under the owner's token, beside those of an older one. */
export async function insertContribution(
  connection: SqlConnection,
  layout: ReportLayout,
  owner: ContributionOwner,
  contribution: HeldContribution,
): Promise<void> {
  const rowsOf = [contribution.additive, ...contribution.multisets];
  for (const [index, pair] of pairsOf(layout).entries()) {
    let rows = rowsOf[index] ?? [];
    if (mutated('merge.perWindowExtremes') && index > 0) rows = extremesOnly(rows);
    if (rows.length > 0) await insertRows(connection, pair, owner, rows);
  }
}

/** Writes rows of one table under the owner's token. */
export async function insertRows(
  connection: SqlConnection,
  pair: Pair,
  owner: ContributionOwner,
  rows: ContributionRows,
): Promise<void> {
  const prefix = [...ownedBy(owner), owner.token];
  await connection.insertRows(
    pair.contributions,
    [...CONTRIBUTION_KEY, ...pair.keys, ...pair.sums],
    rows.map((row) => [...prefix, ...row]),
  );
}

/** What an exchange is told beside whose contribution it brings in. */
export interface Exchange {
  /** The token whose contribution stands, 0n if none. */
  readonly older: bigint;
  /** Rows of the new contribution. */
  readonly rows: number;
}

/**
 * Adds (new - old contribution) to the report, in key order, so that merges that meet on the same rows wait
 * for each other instead of deadlocking. Rows that become empty stay: another window's merge may come late
 * and need their sums.
 */
export async function exchange(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  owner: ContributionOwner,
  how: Exchange,
): Promise<void> {
  if (layout.isOfCells) return exchangeCells(connection, dialect, layout, owner, how);
  for (const pair of pairsOf(layout)) {
    if (how.older === 0n) await add(connection, dialect, pair, { ...owner, sign: 1, rows: how.rows });
    else await replace(connection, dialect, pair, owner, how);
    if (mutated('merge.deleteEmptyRows') && pair.sums.includes(ROW_COUNT)) {
      await connection.query(`DELETE FROM ${dialect.id(pair.table)} WHERE ${ROW_COUNT} = 0`);
    }
    if (mutated('merge.dropNegativeMembers') && pair.sums.includes('weight')) {
      await connection.query(`DELETE FROM ${dialect.id(pair.table)} WHERE weight <= 0`);
    }
  }
}

/** Rows under a token, with the sign that they are added with, and how many they are. */
interface Signed extends ContributionOwner {
  readonly sign: 0 | 1 | -1;
  readonly rows: number;
}

/**
 * The common case: each key stands once, already in key order, since the contribution's primary key ends in
 * it.
 */
async function add(
  connection: SqlConnection,
  dialect: Dialect,
  pair: Pair,
  { sign, rows, ...owner }: Signed,
): Promise<void> {
  const columns = [...pair.keys, ...pair.sums];
  const sums = pair.sums.map((sum) => (sign === 1 ? `c.${sum}` : `${sign} * c.${sum}`));
  const keys = pair.keys.map((key) => `c.${key}`);
  const source =
    `SELECT ${[...keys, ...sums].join(', ')} FROM ${dialect.id(pair.contributions)} AS c ` +
    `WHERE ${OWNED} AND token = ? ORDER BY ${keys.join(', ')}`;
  const sql = dialect.upsert({ table: pair.table, columns, source, key: pair.keys, add: pair.sums });
  await connection.query(sql, [...ownedBy(owner), owner.token], answerFor(rows));
}

/**
 * Of a large contribution the old rows are taken away and then the new ones added, each in key order: a
 * million rows take 10 s so, and 100 s when they are grouped first.
 */
async function replace(
  connection: SqlConnection,
  dialect: Dialect,
  pair: Pair,
  owner: ContributionOwner,
  how: Exchange,
): Promise<void> {
  const older = { ...owner, token: how.older };
  const rows = await countRows(connection, dialect.id(pair.contributions), {
    where: `${OWNED} AND token = ?`,
    params: [...ownedBy(older), older.token],
  });
  if (rows + how.rows <= LIMITS.contributionRowsHeldMax) {
    await addDifference(connection, dialect, pair, owner, how);
    return;
  }
  const sign = mutated('merge.keepOldContribution') ? 0 : -1;
  await add(connection, dialect, pair, { ...older, sign, rows });
  await add(connection, dialect, pair, { ...owner, sign: 1, rows: how.rows });
}

/** Rows under a third token are of an attempt that did not come to its end: they never counted. */
async function addDifference(
  connection: SqlConnection,
  dialect: Dialect,
  pair: Pair,
  owner: ContributionOwner,
  how: Exchange,
): Promise<void> {
  const keys = pair.keys.map((key) => `d.${key}`).join(', ');
  const sums = pair.sums.map((sum) => `SUM(d.sign * d.${sum})`).join(', ');
  const inner = [...pair.keys, ...pair.sums].map((column) => `c.${column}`).join(', ');
  const sign = mutated('merge.keepOldContribution') ? '0' : '-1';
  const all = mutated('stage.leftoversCount');
  const where = all ? OWNED : `${OWNED} AND token IN (?, ?)`;
  const source =
    `SELECT ${keys}, ${sums} FROM (SELECT ${inner}, CASE WHEN c.token = ? THEN 1 ELSE ${sign} END AS sign ` +
    `FROM ${dialect.id(pair.contributions)} AS c WHERE ${where}) AS d ` +
    `GROUP BY ${keys} ORDER BY ${keys}`;
  const sql = dialect.upsert({
    table: pair.table,
    columns: [...pair.keys, ...pair.sums],
    source,
    key: pair.keys,
    add: pair.sums,
  });
  const params = [...ownedBy(owner), ...(all ? [] : [owner.token, how.older])];
  await connection.query(sql, [owner.token, ...params]);
}

/**
 * The deliberate mistake of keeping one least and one greatest value per window: they cannot be retracted.
 */
function extremesOnly(rows: ContributionRows): ContributionRows {
  const byKey = new Map<string, (readonly SqlParam[])[]>();
  for (const row of rows) {
    const key = row.slice(0, -2).map(String).join(' ');
    byKey.set(key, [...(byKey.get(key) ?? []), row]);
  }
  const kept: (readonly SqlParam[])[] = [];
  for (const group of byKey.values()) {
    const positive = group.filter((row) => (row.at(-1) as bigint) > 0n);
    const first = positive[0];
    const last = positive.at(-1);
    if (first !== undefined) kept.push(first);
    if (last !== undefined && last !== first) kept.push(last);
  }
  return kept;
}
