/**
 * What folding leaves of contributions (design 6.10): packs whose rows are the report's for good now, and
 * rows of the report that say nothing any more.
 */
import { LIMITS, mutated } from '../../base/index.ts';
import type { Dialect, SqlConnection, SqlParam } from '../../sql/index.ts';
import { asBigint } from './values.ts';
import type { ReportLayout } from './layout.ts';
import { NO_TOKEN, PACK_KEY, PACK_ORDER, pairsOf, unpacked, type Pair } from './packs.ts';

/** Up to which window of a source spans are folded. */
export interface Folded {
  readonly sourceId: number;
  readonly mark: number;
}

/**
 * Takes the next packs away, standing or not, and the rows of zeros among the keys that they name. In the
 * transaction that holds the fold mark.
 * @returns whether there may be more.
 */
export async function sweepPacks(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  folded: Folded,
): Promise<boolean> {
  const packs = await nextPacks(connection, dialect, layout, folded);
  if (packs.length === 0) return false;
  for (const pair of pairsOf(layout)) {
    const looked = packs.filter((pack) => pack.pair === pair.number && pack.looked);
    if (looked.length > 0) await sweepZeros(connection, dialect, layout, { pair, looked });
  }
  const table = dialect.id(layout.contributionTable);
  await connection.query(`DELETE FROM ${table} WHERE ${anyOf(packs)}`, paramsOf(packs));
  return true;
}

interface Found {
  readonly key: readonly SqlParam[];
  readonly pair: number;
  /** Whether it may have left a row of zeros in the report. */
  readonly looked: boolean;
}

/** The first packs in the order of their key, of as many rows as one transaction may look at. */
async function nextPacks(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  { sourceId, mark }: Folded,
): Promise<Found[]> {
  const { rows } = await connection.query(
    `SELECT ${PACK_ORDER}, lowers, row_total FROM ${dialect.id(layout.contributionTable)} ` +
      `WHERE source_id = ? AND first_window <= ? ORDER BY ${PACK_ORDER} LIMIT ${LIMITS.packsDeletedAtOnce}`,
    [sourceId, mark],
  );
  const found: Found[] = [];
  let total = 0;
  for (const row of rows) {
    const key = row.slice(0, PACK_KEY.length);
    const isAside = asBigint(row[PACK_KEY.indexOf('token')]) === NO_TOKEN;
    const looked = isAside || asBigint(row[PACK_KEY.length]) !== 0n;
    if (looked) total += Number(asBigint(row[PACK_KEY.length + 1]));
    const isFull = found.length > 0 && total > LIMITS.packedRowsSweptAtOnce;
    if (isFull && !mutated('fold.sweepsAllAtOnce')) break;
    found.push({ key, pair: Number(asBigint(row[PACK_KEY.indexOf('pair')])), looked });
  }
  return found;
}

const anyOf = (packs: readonly Found[]): string => {
  const one = `(${PACK_KEY.map((column) => `${column} = ?`).join(' AND ')})`;
  return `(${packs.map(() => one).join(' OR ')})`;
};
const paramsOf = (packs: readonly Found[]): SqlParam[] => packs.flatMap(({ key }) => key);

/**
 * Removes rows of which every stored cell is zero: what says nothing may be missing. A negative count or
 * weight, or a count of zero with sums that are not, waits for what another window will still add. Only keys
 * of the spans that are folded are looked at, and not those to which a span added rows: where all of them
 * did, and none was taken out again, the row is not zero; one that was below zero before stays, unseen.
 */
async function sweepZeros(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  { pair, looked }: { readonly pair: Pair; readonly looked: readonly Found[] },
): Promise<void> {
  const zero = pair.sums.slice(0, mutated('fold.removesEmptyRows') ? 1 : undefined);
  const isZero = zero
    .map(({ column }) => `r.${column} ${mutated('fold.removesNegatives') ? '<=' : '='} 0`)
    .join(' AND ');
  const table = dialect.id(pair.table);
  // MariaDB reads each row's text once for every column that is declared, asked for or not.
  const { from, keys, numbers } = unpacked(dialect, layout, { ...pair, sums: pair.sums.slice(0, 1) });
  const lowers = `(p.token = ${NO_TOKEN} OR ${numbers[0] ?? ''} <= 0)`;
  const lowered = `${from} AND ${anyOf(looked)} AND ${lowers}`;
  const params = paramsOf(looked);
  if (dialect.kind === 'mysql') {
    const named = keys.map((key, at) => `${key} AS key_${at}`);
    const same = pair.keys.map(({ column }, at) => `r.${column} = f.key_${at}`).join(' AND ');
    const joined = `(SELECT ${named.join(', ')} ${lowered}) AS f STRAIGHT_JOIN ${table} AS r ON ${same}`;
    // Most often there is none: then no row of the report is locked, nor looked at twice.
    const { rows } = await connection.query(`SELECT 1 FROM ${joined} WHERE ${isZero} LIMIT 1`, params);
    if (rows.length > 0) await connection.query(`DELETE r FROM ${joined} WHERE ${isZero}`, params);
    return;
  }
  const columns = pair.keys.map(({ column }) => column).join(', ');
  const touched = `SELECT ${keys.join(', ')} ${lowered}`;
  await connection.query(
    `DELETE FROM ${table} AS r WHERE (${columns}) IN (${touched}) AND ${isZero}`,
    params,
  );
}
