/**
 * Contributions: what a span added to a report is kept under the token that added it (packs.ts), so that a
 * newer version can take exactly that away again. What makes a contribution stand is the ledger's `applied`:
 * packs under other tokens count for nothing, and lie there until they are folded away.
 */
import { LIMITS, mutated } from '../../base/index.ts';
import type { Dialect, SqlConnection, SqlParam } from '../../sql/index.ts';
import { answerFor, type Rows } from './answer-time.ts';
import { exchangeCells, insertCells, removeCells, takeCellsBack } from './cells.ts';
import { ROW_COUNT, type ReportLayout } from './layout.ts';
import {
  insertPacks,
  NO_TOKEN,
  OWNED,
  ownedBy,
  packRows,
  ofOwners,
  pairsOf,
  unpacked,
  type ContributionOwner,
  type ContributionRows,
  type Pair,
} from './packs.ts';
import { asBigint } from './values.ts';

/** What one span adds to a report, as far as it is held in memory. */
export interface HeldContribution {
  /** Keys, then the layout's additive columns. */
  readonly additive: ContributionRows;
  /** One per multiset of the layout, in its order: keys, value, weight. */
  readonly multisets: readonly ContributionRows[];
}

/** Keeps the contribution under the owner's token, beside an older one. */
export async function insertContribution(
  connection: SqlConnection,
  layout: ReportLayout,
  owner: ContributionOwner,
  contribution: HeldContribution,
): Promise<void> {
  const rowsOf = [contribution.additive, ...contribution.multisets];
  if (layout.isOfCells) return insertCells(connection, layout, owner, contribution.additive);
  const packs = pairsOf(layout).flatMap((pair, index) => {
    const rows = rowsOf[index] ?? [];
    return packRows(pair, mutated('merge.perWindowExtremes') && index > 0 ? extremesOnly(rows) : rows);
  });
  await insertPacks(connection, layout, owner, packs);
}

/** What an exchange is told beside whose contribution it brings in. */
export interface Exchange {
  /** The token whose contribution stands, 0n if none. */
  readonly older: bigint;
  /** Rows of the new contribution. */
  readonly rows: number;
  /** Whether it was staged: then its packs are not in the order of their keys. */
  readonly staged: boolean;
}

/**
 * Adds (new - old contribution) to the report, in the order of packed keys, so that merges that meet on the
 * same rows wait for each other instead of deadlocking. Rows that become empty stay: another window's merge
 * may come late and need their sums. The old packs stay too, until folding has looked at their keys.
 */
export async function exchange(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  owner: ContributionOwner,
  how: Exchange,
): Promise<void> {
  if (layout.isOfCells) {
    await exchangeCells(connection, dialect, layout, owner, how);
    if (how.older !== 0n) await removeCells(connection, dialect, layout, [{ ...owner, token: how.older }]);
    return;
  }
  if (how.older === 0n && how.rows === 0) return;
  const older = how.older === 0n ? 0 : await countPacked(connection, dialect, layout, [oldOf(owner, how)]);
  for (const pair of pairsOf(layout)) {
    await exchangePair(connection, { dialect, layout, pair }, owner, { ...how, olderRows: older });
    if (mutated('merge.deleteEmptyRows') && pair.number === 0) {
      await connection.query(`DELETE FROM ${dialect.id(pair.table)} WHERE ${ROW_COUNT} = 0`);
    }
    if (mutated('merge.dropNegativeMembers') && pair.number > 0) {
      await connection.query(`DELETE FROM ${dialect.id(pair.table)} WHERE weight <= 0`);
    }
  }
  if (how.older !== 0n) await layAside(connection, dialect, layout, [oldOf(owner, how)]);
}

const oldOf = (owner: ContributionOwner, { older }: Exchange): ContributionOwner => ({
  ...owner,
  token: older,
});

/** Takes the contributions of many spans of one source out of the report. */
export async function removeContributions(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  owners: readonly ContributionOwner[],
): Promise<void> {
  if (layout.isOfCells) {
    await takeCellsBack(connection, dialect, layout, owners[0]?.sourceId ?? 0, owners);
    await removeCells(connection, dialect, layout, owners);
    return;
  }
  const rows = await countPacked(connection, dialect, layout, owners);
  const [only, ...more] = owners;
  for (const pair of pairsOf(layout)) {
    const target = { dialect, layout, pair };
    if (only !== undefined && more.length === 0) {
      await add(connection, target, only, { sign: -1, rows, ordered: true });
    } else await addSum(connection, target, { ...ofOwners(owners), sign: '-1', signs: [], rows });
  }
  await layAside(connection, dialect, layout, owners);
}

/**
 * Lays packs that were taken out under no token: they count for nothing, their task may use its token again,
 * and folding looks at every key. Nothing else tells that the report may have rows of zeros there.
 */
async function layAside(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  owners: readonly ContributionOwner[],
): Promise<void> {
  const table = dialect.id(layout.contributionTable);
  const { where, params } = ofOwners(owners);
  if (mutated('merge.retractedKeysForgotten')) {
    await connection.query(`DELETE FROM ${table} WHERE ${where}`, params);
    return;
  }
  const aside = ofOwners(owners.map((owner) => ({ ...owner, token: NO_TOKEN })));
  const last = await connection.query(`SELECT MAX(piece) FROM ${table} WHERE ${aside.where}`, aside.params);
  const next = asBigint(last.rows[0]?.[0] ?? -1n) + 1n;
  await connection.query(`UPDATE ${table} SET token = ${NO_TOKEN}, piece = piece + ? WHERE ${where}`, [
    next,
    ...params,
  ]);
}

/** Rows of these owners, those of all tables together. */
async function countPacked(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  owners: readonly ContributionOwner[],
): Promise<number> {
  const { where, params } = ofOwners(owners);
  const sql = `SELECT SUM(row_total) FROM ${dialect.id(layout.contributionTable)} WHERE ${where}`;
  return Number((await connection.query(sql, params)).rows[0]?.[0] ?? 0);
}

interface Target {
  readonly dialect: Dialect;
  readonly layout: ReportLayout;
  readonly pair: Pair;
}

async function exchangePair(
  connection: SqlConnection,
  target: Target,
  owner: ContributionOwner,
  how: Exchange & { readonly olderRows: number },
): Promise<void> {
  const { olderRows, rows, staged } = how;
  if (how.older === 0n) return add(connection, target, owner, { sign: 1, rows, ordered: staged });
  if (olderRows + rows <= LIMITS.contributionRowsHeldMax) {
    return addDifference(connection, target, owner, how);
  }
  // A million rows take 10 s so, and 100 s when they are grouped first.
  const sign = mutated('merge.keepOldContribution') ? 0 : -1;
  await add(connection, target, oldOf(owner, how), { sign, rows: olderRows, ordered: true });
  await add(connection, target, owner, { sign: 1, rows, ordered: true });
}

interface Adding {
  readonly sign: 0 | 1 | -1;
  readonly rows: number;
  /** Whether the database is to sort them; one that was held is packed in order. */
  readonly ordered: boolean;
}

/** Adds what one owner has, of which each key stands once. */
async function add(
  connection: SqlConnection,
  { dialect, layout, pair }: Target,
  owner: ContributionOwner,
  { sign, rows, ordered }: Adding,
): Promise<void> {
  const { from, keys, sums, numbers, texts } = unpacked(dialect, layout, pair);
  // The column takes a text exactly or not at all.
  const added = sign === 1 ? sums : numbers.map((number) => `${sign} * ${number}`);
  const order = ordered ? ` ORDER BY ${texts.join(', ')}` : '';
  const { where, params } = ofOwners([owner]);
  const source = `SELECT ${[...keys, ...added].join(', ')} ${from} AND ${where}${order}`;
  await connection.query(upsertOf(dialect, pair, source), params, answerFor(rows));
}

/** Packs under a third token are of an attempt that did not come to its end, or were replaced before. */
async function addDifference(
  connection: SqlConnection,
  target: Target,
  owner: ContributionOwner,
  how: Exchange & { readonly olderRows: number },
): Promise<void> {
  const sign = `CASE WHEN p.token = ? THEN 1 ELSE ${mutated('merge.keepOldContribution') ? '0' : '-1'} END`;
  const both = mutated('stage.leftoversCount')
    ? { where: OWNED, params: ownedBy(owner) }
    : ofOwners([owner, oldOf(owner, how)]);
  const rows = how.rows + how.olderRows;
  await addSum(connection, target, { ...both, sign, signs: [owner.token], rows });
}

/** Adds the sums, by key, of packed rows with a sign. */
async function addSum(
  connection: SqlConnection,
  { dialect, layout, pair }: Target,
  of: Rows & { readonly sign: string; readonly signs: readonly SqlParam[]; readonly rows: number },
): Promise<void> {
  const { from, keys, numbers, texts } = unpacked(dialect, layout, pair);
  const sums = numbers.map((number) => `SUM(${of.sign} * ${number})`);
  const grouped = `GROUP BY ${texts.join(', ')} ORDER BY ${texts.join(', ')}`;
  const source = `SELECT ${[...keys, ...sums].join(', ')} ${from} AND ${of.where} ${grouped}`;
  const params = [...sums.flatMap(() => of.signs), ...of.params];
  await connection.query(upsertOf(dialect, pair, source), params, answerFor(of.rows));
}

function upsertOf(dialect: Dialect, pair: Pair, source: string): string {
  const key = pair.keys.map(({ column }) => column);
  const add = pair.sums.map(({ column }) => column);
  return dialect.upsert({ table: pair.table, columns: [...key, ...add], source, key, add });
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
