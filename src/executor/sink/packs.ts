/**
 * Packs: what a span added to a table of a report, as texts of many rows. A contribution is written once and
 * hardly ever looked at again, so that a row of its own for each of its rows would cost more than what it is
 * for. The database reads packs itself, by its JSON functions: no row of a contribution comes back here.
 *
 * The rows of a pack are arrays of texts, in the order of these texts: digits as they are, bytes in
 * hexadecimal. That is the order in which every merge takes the locks of the report's rows.
 */
import { assert, LIMITS, must, mutated } from '../../base/index.ts';
import { parseColumnType, type Dialect, type SqlConnection, type SqlParam } from '../../sql/index.ts';
import type { Rows } from './answer-time.ts';
import { CONTRIBUTION_KEY, type AdditiveColumn, type ReportLayout } from './layout.ts';

/** Rows of one table of a contribution, in the column order of its layout. */
export type ContributionRows = readonly (readonly SqlParam[])[];

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

export const OWNED = 'source_id = ? AND first_window = ? AND part = ?';
export const ownedBy = (place: Place): SqlParam[] => [place.sourceId, place.firstWindow, place.part];

/** What these owners have in the contribution table, as a condition without an alias. */
export function ofOwners(owners: readonly ContributionOwner[]): Rows {
  const one = `(${OWNED} AND token = ?)`;
  return {
    where: `(${owners.map(() => one).join(' OR ')})`,
    params: owners.flatMap((owner) => [...ownedBy(owner), owner.token]),
  };
}

/** A key or value, and how long its texts may be. */
interface TextColumn {
  readonly column: string;
  readonly type: string;
  readonly isBytes: boolean;
  readonly length: number;
}

/** Digits behind the point, as all values of the column have them. */
interface SumColumn {
  readonly column: string;
  readonly scale: number;
}

/** A table of a report that contributions are added to; `number` is its place among them. */
export interface Pair {
  readonly number: number;
  readonly table: string;
  readonly keys: readonly TextColumn[];
  readonly sums: readonly SumColumn[];
}

/** The order in which every merge takes its locks: the report's own rows, then the multisets. */
export function pairsOf(layout: ReportLayout): Pair[] {
  const keys = layout.keys.map(({ column, type }) => textColumn(column, type));
  const sums = layout.additive.map((sum) => ({ column: sum.column, scale: scaleOf(sum) }));
  return [
    { number: 0, table: layout.table, keys, sums },
    ...layout.multisets.map(({ table, type }, at) => ({
      number: at + 1,
      table,
      keys: [...keys, textColumn('value', type)],
      sums: [{ column: 'weight', scale: 0 }],
    })),
  ];
}

/** Digits, signs and points of the longest number or moment. */
const NUMBER_LENGTH = 80;
const UTF8_BYTES_MAX = 4;
/** Two digits for each byte that a key of a table may have, and of one more: a text that is longer is cut. */
const KEY_BYTES_MAX = 3_072;

function textColumn(column: string, type: string): TextColumn {
  const parsed = parseColumnType(type);
  if (parsed.kind !== 'TEXT' && parsed.kind !== 'BYTES') {
    return { column, type, isBytes: false, length: NUMBER_LENGTH };
  }
  const bytes = parsed.kind === 'TEXT' ? parsed.length * UTF8_BYTES_MAX : parsed.length;
  return { column, type, isBytes: true, length: 2 * (Math.min(bytes, KEY_BYTES_MAX) + 1) };
}

function scaleOf({ type, of }: AdditiveColumn): number {
  const parsed = parseColumnType(type);
  if (parsed.kind !== 'DECIMAL') return 0;
  return of === 'squares' ? 2 * parsed.scale : parsed.scale;
}

/** The token of packs that were taken out of the report again: of no task. */
export const NO_TOKEN = 0n;

/** Some rows of one table. */
export interface Pack {
  readonly pair: number;
  readonly rows: number;
  /** Whether a row does not add to the first sum, the number of rows or the weight. */
  readonly lowers: boolean;
  readonly body: string;
}

/** Packs rows of a table, in the order of their texts. */
export function packRows(pair: Pair, rows: ContributionRows): Pack[] {
  const { keys, sums } = pair;
  const isBytes = [...keys.map((key) => key.isBytes), ...sums.map(() => false)];
  const first = keys.length;
  const lowers = rows.some((row) => Number(row[first]) <= 0);
  const texts = rows.map((row) => textOf(row, isBytes));
  if (!mutated('merge.rowsInAnyOrder')) texts.sort(inOrder);
  const packs: Pack[] = [];
  let from = 0;
  let bytes = 0;
  for (const [at, text] of texts.entries()) {
    bytes += text.length;
    const isFull = at - from + 1 >= LIMITS.packRowsMax || bytes >= LIMITS.packBytesMax;
    if (!isFull && at < texts.length - 1) continue;
    const body = `[${texts.slice(from, at + 1).join(',')}]`;
    packs.push({ pair: pair.number, rows: at + 1 - from, lowers, body });
    from = at + 1;
    bytes = 0;
  }
  return packs;
}

/** Faster than the default order, which is the same for ASCII. */
const inOrder = (one: string, other: string): number => (one < other ? -1 : Number(one > other));

function textOf(row: readonly SqlParam[], isBytes: readonly boolean[]): string {
  assert(row.length === isBytes.length, 'a row has a value for each column');
  let text = '["';
  for (let at = 0; at < row.length; at += 1) {
    if (at > 0) text += '","';
    const value = row[at];
    text += isBytes[at] === true ? bytesOf(value).toString('hex') : plainText(value);
  }
  return `${text}"]`;
}

function bytesOf(value: SqlParam | undefined): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  assert(typeof value === 'string', 'text and bytes come as such');
  return Buffer.from(value);
}

const NUMBER_OR_MOMENT = /^[-0-9.: ]*$/;

function plainText(value: SqlParam | undefined): string {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'string') {
    // On the embedded engine a moment may be any text.
    return NUMBER_OR_MOMENT.test(value) ? value : JSON.stringify(value).slice(1, -1);
  }
  assert(Number.isSafeInteger(value), 'reals are no keys, and are not summed');
  return String(value);
}

/** The primary key of packs. */
export const PACK_KEY = [...CONTRIBUTION_KEY, 'pair', 'piece'] as const;
const PACK_COLUMNS = [...PACK_KEY, 'lowers', 'row_total', 'body'] as const;
/** Their order in the table. */
export const PACK_ORDER = PACK_KEY.join(', ');

/** Writes packs under the owner's token; the first one is numbered `from`. */
export async function insertPacks(
  connection: SqlConnection,
  layout: ReportLayout,
  owner: ContributionOwner,
  packs: readonly Pack[],
  from = 0,
): Promise<void> {
  await connection.insertRows(
    layout.contributionTable,
    PACK_COLUMNS,
    packs.map(({ pair, lowers, rows, body }, at) => {
      return [...ownedBy(owner), owner.token, pair, from + at, lowers, rows, body];
    }),
  );
}

/** The packed rows of a pair as a table. */
export interface Unpacked {
  /** `FROM ... WHERE`, with the pair; a condition on the packs, as `p`, is to follow. */
  readonly from: string;
  /** Texts of the keys. */
  readonly texts: readonly string[];
  /** What is kept of the keys, and texts of the sums. */
  readonly keys: readonly string[];
  readonly sums: readonly string[];
  /** The sums as numbers. */
  readonly numbers: readonly string[];
}

/** Reads the packed rows of a pair, in whatever order the packs come. */
export function unpacked(dialect: Dialect, layout: ReportLayout, pair: Pair): Unpacked {
  const lengths = [...pair.keys.map((key) => key.length), ...pair.sums.map(() => NUMBER_LENGTH)];
  const { table, texts } = dialect.jsonRows('p.body', lengths);
  const sums = texts.slice(pair.keys.length);
  const packs = dialect.id(layout.contributionTable);
  return {
    from: `FROM ${packs} AS p CROSS JOIN ${table} WHERE p.pair = ${pair.number}`,
    texts: texts.slice(0, pair.keys.length),
    keys: pair.keys.map(({ type }, at) => dialect.fromText(must(texts[at], 'a key'), type)),
    sums,
    numbers: pair.sums.map(({ scale }, at) => dialect.exactNumber(must(sums[at], 'a sum'), scale)),
  };
}
