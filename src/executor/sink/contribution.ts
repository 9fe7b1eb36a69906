/**
 * Contributions as rows: what a span added to a report is kept under the token that added it, so that a
 * newer version can take exactly that away again. While both lie side by side, one statement per table adds
 * their difference.
 */
import { mutated } from '../../base/index.ts';
import type { Dialect, SqlConnection, SqlParam } from '../../sql/index.ts';
import { exchangeCells, takeCellsBack } from './cells.ts';
import { CONTRIBUTION_KEY, ROW_COUNT, type ReportLayout } from './layout.ts';
import type { Contribution } from './merge.ts';

/** Whose contribution: a span's first window and part of one source, and the token that is merging. */
export interface ContributionOwner {
  readonly sourceId: number;
  readonly firstWindow: number;
  readonly part: number;
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

const OWNED = 'source_id = ? AND first_window = ? AND part = ?';
const ownedBy = (owner: ContributionOwner): SqlParam[] => [owner.sourceId, owner.firstWindow, owner.part];

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
  contribution: Contribution,
): Promise<void> {
  const prefix = [...ownedBy(owner), owner.token];
  const rowsOf = [contribution.additive, ...contribution.multisets];
  for (const [index, pair] of pairsOf(layout).entries()) {
    let rows = rowsOf[index] ?? [];
    if (mutated('merge.perWindowExtremes') && index > 0) rows = extremesOnly(rows);
    if (rows.length === 0) continue;
    await connection.insertRows(
      pair.contributions,
      [...CONTRIBUTION_KEY, ...pair.keys, ...pair.sums],
      rows.map((row) => [...prefix, ...row]),
    );
  }
}

/**
 * Adds (new - old contribution) to the report, in key order, so that merges that meet on the same rows wait
 * for each other instead of deadlocking. Rows that become empty stay: another window's merge may come late
 * and need their sums. `older` tells whether there is an old contribution at all.
 */
export async function exchange(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  owner: ContributionOwner,
  older: boolean,
): Promise<void> {
  if (layout.isOfCells) return exchangeCells(connection, dialect, layout, owner, older);
  for (const pair of pairsOf(layout)) {
    await (older ? addDifference : addNew)(connection, dialect, pair, owner);
    if (mutated('merge.deleteEmptyRows') && pair.sums.includes(ROW_COUNT)) {
      await connection.query(`DELETE FROM ${dialect.id(pair.table)} WHERE ${ROW_COUNT} = 0`);
    }
    if (mutated('merge.dropNegativeMembers') && pair.sums.includes('weight')) {
      await connection.query(`DELETE FROM ${dialect.id(pair.table)} WHERE weight <= 0`);
    }
  }
}

/**
 * The common case: each key stands once, already in key order, since the contribution's primary key ends in
 * it.
 */
async function addNew(
  connection: SqlConnection,
  dialect: Dialect,
  pair: Pair,
  owner: ContributionOwner,
): Promise<void> {
  const columns = [...pair.keys, ...pair.sums];
  const source =
    `SELECT ${columns.map((column) => `c.${column}`).join(', ')} ` +
    `FROM ${dialect.id(pair.contributions)} AS c ` +
    `WHERE ${OWNED} AND token = ? ORDER BY ${pair.keys.map((key) => `c.${key}`).join(', ')}`;
  const sql = dialect.upsert({ table: pair.table, columns, source, key: pair.keys, add: pair.sums });
  await connection.query(sql, [...ownedBy(owner), owner.token]);
}

async function addDifference(
  connection: SqlConnection,
  dialect: Dialect,
  pair: Pair,
  owner: ContributionOwner,
): Promise<void> {
  const keys = pair.keys.map((key) => `d.${key}`).join(', ');
  const sums = pair.sums.map((sum) => `SUM(d.sign * d.${sum})`).join(', ');
  const inner = [...pair.keys, ...pair.sums].map((column) => `c.${column}`).join(', ');
  const older = mutated('merge.keepOldContribution') ? '0' : '-1';
  const source =
    `SELECT ${keys}, ${sums} FROM (SELECT ${inner}, CASE WHEN c.token = ? THEN 1 ELSE ${older} END AS sign ` +
    `FROM ${dialect.id(pair.contributions)} AS c WHERE ${OWNED}) AS d ` +
    `GROUP BY ${keys} ORDER BY ${keys}`;
  const sql = dialect.upsert({
    table: pair.table,
    columns: [...pair.keys, ...pair.sums],
    source,
    key: pair.keys,
    add: pair.sums,
  });
  await connection.query(sql, [owner.token, ...ownedBy(owner)]);
}

/**
 * Removes the rows that the owner's token has replaced. Of a key that the new contribution lacks a row of
 * zeros stays: folding looks at it, since nothing else tells that the report may have a row of zeros there.
 */
export async function removeOlder(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  owner: ContributionOwner,
): Promise<void> {
  for (const pair of pairsOf(layout)) {
    const older = `${OWNED} AND c.token <> ?`;
    await keepKeys(connection, dialect, pair, owner.token, older, [...ownedBy(owner), owner.token]);
    await connection.query(`DELETE FROM ${dialect.id(pair.contributions)} WHERE ${OWNED} AND token <> ?`, [
      ...ownedBy(owner),
      owner.token,
    ]);
  }
}

/** Notes the keys of contributions, which `where` selects and which are about to go, as rows of zeros. */
async function keepKeys(
  connection: SqlConnection,
  dialect: Dialect,
  pair: Pair,
  token: bigint,
  where: string,
  params: readonly SqlParam[],
): Promise<void> {
  if (mutated('merge.retractedKeysForgotten')) return;
  const owned = ['source_id', 'first_window', 'part'];
  const selected = [...owned.map((column) => `c.${column}`), '?', ...pair.keys.map((key) => `c.${key}`)];
  const contributions = dialect.id(pair.contributions);
  const values = [...selected, ...pair.zeros].join(', ');
  const sql = dialect.insertIgnore({
    table: pair.contributions,
    columns: [...CONTRIBUTION_KEY, ...pair.keys, ...pair.sums],
    source: `SELECT DISTINCT ${values} FROM ${contributions} AS c WHERE ${where}`,
    key: [...CONTRIBUTION_KEY, ...pair.keys],
  });
  await connection.query(sql, [token, ...params]);
}

/** Takes the contributions of many spans of one source out of the report, whatever their tokens. */
export async function removeContributions(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  sourceId: number,
  spans: readonly { readonly firstWindow: number; readonly part: number }[],
): Promise<void> {
  const where = `source_id = ? AND (${spans.map(() => '(first_window = ? AND part = ?)').join(' OR ')})`;
  const params = [sourceId, ...spans.flatMap(({ firstWindow, part }) => [firstWindow, part])];
  if (layout.isOfCells) await takeCellsBack(connection, dialect, layout, sourceId, spans);
  for (const pair of pairsOf(layout)) {
    if (!layout.isOfCells) await subtract(connection, dialect, pair, where, params);
    await keepKeys(connection, dialect, pair, 0n, `${where} AND c.token <> 0`, params);
    const contributions = dialect.id(pair.contributions);
    await connection.query(`DELETE FROM ${contributions} WHERE ${where} AND token <> 0`, params);
  }
}

async function subtract(
  connection: SqlConnection,
  dialect: Dialect,
  pair: Pair,
  where: string,
  params: readonly SqlParam[],
): Promise<void> {
  const keys = pair.keys.map((key) => `c.${key}`).join(', ');
  const sums = pair.sums.map((sum) => `SUM(-1 * c.${sum})`).join(', ');
  const rows = `FROM ${dialect.id(pair.contributions)} AS c WHERE ${where}`;
  const source = `SELECT ${keys}, ${sums} ${rows} GROUP BY ${keys} ORDER BY ${keys}`;
  const columns = [...pair.keys, ...pair.sums];
  await connection.query(
    dialect.upsert({ table: pair.table, columns, source, key: pair.keys, add: pair.sums }),
    params,
  );
}

/**
 * The deliberate mistake of keeping one least and one greatest value per window: they cannot be retracted.
 */
function extremesOnly(rows: Contribution['additive']): Contribution['additive'] {
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
