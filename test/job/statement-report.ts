/**
 * One report of over a hundred lines (common table expressions, two dimensions, UNION ALL) in the SQL that
 * both
 * engines understand, and the same computed naively from the rows.
 */
import type { CapturedTable, CompiledReport } from '../../src/job/index.ts';

const branch = (entry: string, amount: string, extra: string): string => `
SELECT
  s.country,
  s.label,
  '${entry}' AS entry,
  s.business_day,
  CASE
    WHEN s.net < 1000
      THEN 'small'
    WHEN s.net < 5000
      THEN 'middle'
    ELSE 'large'
  END AS band,
  1 AS entries,
  s.note AS noted,
  ${amount} AS amount,
  ${amount} AS average,
  s.note AS first_note,
  s.net AS largest,
  s._w
FROM sold AS s
WHERE s.net > 0
  AND ${extra}`;

export const STATEMENT_SQL = `-- ? placeholders, quotes ' and words like SUM( in comments do no harm
WITH priced AS (
  SELECT
    l.shop_id,
    l.item_id,
    l.note,
    l.created_ms,
    l.quantity * l.price AS gross,
    COALESCE(l.discount, 0) AS discount,
    l._w
  FROM l
),
sold AS (
  SELECT
    shops.country,
    items.label,
    items.tax,
    priced.note,
    priced.discount,
    priced.gross - priced.discount AS net,
    CAST(
      (priced.created_ms + shops.offset_ms - (priced.created_ms + shops.offset_ms) % 86400000)
      / 86400000 AS SIGNED
    ) AS business_day,
    priced._w
  FROM priced
  INNER JOIN shops
    ON shops.shop_id = priced.shop_id
  INNER JOIN items
    ON items.item_id = priced.item_id
)
${branch('sale', 's.net', '1 = 1')}
UNION ALL
${branch('discount', '-s.discount', 's.discount > 0')}
UNION ALL
${branch('tax', 'CAST((s.net * s.tax - (s.net * s.tax) % 1000) / 1000 AS SIGNED)', 's.tax > 0')}
UNION ALL
${branch('note', 'CASE WHEN s.note IS NULL THEN NULL ELSE s.net END', "SUBSTR(s.country, 1, 1) = 'd'")}
-- the end`;

export const LINES: CapturedTable = {
  table: 'lines',
  schemaVersion: 3,
  columns: [
    { name: 'line_id', type: 'BIGINT', nullable: false },
    { name: 'shop_id', type: 'BIGINT', nullable: false },
    { name: 'item_id', type: 'BIGINT', nullable: false },
    { name: 'quantity', type: 'BIGINT', nullable: false },
    { name: 'price', type: 'BIGINT', nullable: false },
    { name: 'discount', type: 'BIGINT', nullable: true },
    { name: 'note', type: 'TEXT(20)', nullable: true },
    { name: 'created_ms', type: 'BIGINT', nullable: false },
  ],
  primaryKey: ['line_id'],
  shardKey: 'line_id',
};

const SHOPS = [
  { name: 'shop_id', type: 'BIGINT', nullable: false },
  { name: 'country', type: 'TEXT(8)', nullable: false },
  { name: 'offset_ms', type: 'BIGINT', nullable: false },
];
const ITEMS = [
  { name: 'item_id', type: 'BIGINT', nullable: false },
  { name: 'label', type: 'TEXT(20)', nullable: false },
  { name: 'tax', type: 'BIGINT', nullable: false },
];

const key = (name: string, type: string) => ({ name, type, nullable: false });

export const STATEMENT: CompiledReport = {
  format: 1,
  name: 'statement',
  source: 'shop',
  database: 'reports',
  inputs: [
    { alias: 'l', kind: 'changes', table: 'lines' },
    { alias: 'shops', kind: 'dimension', table: 'shops', columns: SHOPS },
    { alias: 'items', kind: 'dimension', table: 'items', columns: ITEMS },
  ],
  keys: [
    key('country', 'TEXT(8)'),
    key('label', 'TEXT(20)'),
    key('entry', 'TEXT(10)'),
    key('business_day', 'BIGINT'),
    key('band', 'TEXT(8)'),
  ],
  measures: [
    { name: 'entries', kind: 'count', type: 'BIGINT' },
    { name: 'noted', kind: 'count', type: 'BIGINT' },
    { name: 'amount', kind: 'sum', type: 'BIGINT' },
    { name: 'average', kind: 'avg', type: 'BIGINT' },
    { name: 'first_note', kind: 'min', type: 'TEXT(20)' },
    { name: 'largest', kind: 'max', type: 'BIGINT' },
  ],
  sql: STATEMENT_SQL,
  parts: 1,
};

export interface Line {
  readonly shop: bigint;
  readonly item: bigint;
  readonly quantity: bigint;
  readonly price: bigint;
  readonly discount: bigint | null;
  readonly note: string | null;
  readonly createdMs: bigint;
  readonly weight: bigint;
}

/** Upper and lower case, a space at the end: keys that a forgiving collation would take for one. */
export const SHOP_ROWS = [
  { id: 1n, country: 'de', offsetMs: 3_600_000n },
  { id: 2n, country: 'DE', offsetMs: 0n },
  { id: 3n, country: 'de ', offsetMs: -18_000_000n },
];
/** The last price is above 2^53 in sum, its tax keeps every product within 64 bits. */
export const ITEM_ROWS = [
  { id: 1n, label: 'Käse', tax: 190n },
  { id: 2n, label: 'käse', tax: 0n },
  { id: 3n, label: '漢字😀', tax: 70n },
];

export interface Expected {
  /** Keys joined by a bar, to `[row_count, entries, noted, sum, nonnull, sum, nonnull]`. */
  readonly additive: ReadonlyMap<string, readonly bigint[]>;
  /** Keys and value joined by a bar, to the net weight. */
  readonly notes: ReadonlyMap<string, bigint>;
  readonly largest: ReadonlyMap<string, bigint>;
}

export function computeNaively(lines: readonly Line[]): Expected {
  const additive = new Map<string, readonly bigint[]>();
  const notes = new Map<string, bigint>();
  const largest = new Map<string, bigint>();
  const bump = (map: Map<string, bigint>, at: string, by: bigint): void => {
    map.set(at, (map.get(at) ?? 0n) + by);
  };
  for (const line of lines) {
    const shop = SHOP_ROWS.find((row) => row.id === line.shop);
    const item = ITEM_ROWS.find((row) => row.id === line.item);
    if (shop === undefined || item === undefined) continue;
    const discount = line.discount ?? 0n;
    const net = line.quantity * line.price - discount;
    if (net <= 0n) continue;
    const day = (line.createdMs + shop.offsetMs) / 86_400_000n;
    const band = net < 1000n ? 'small' : net < 5000n ? 'middle' : 'large';
    const entries: [string, bigint | null][] = [['sale', net]];
    if (discount > 0n) entries.push(['discount', -discount]);
    if (item.tax > 0n) entries.push(['tax', (net * item.tax) / 1000n]);
    if (shop.country.startsWith('d')) entries.push(['note', line.note === null ? null : net]);
    for (const [entry, amount] of entries) {
      const at = [shop.country, item.label, entry, day, band].join('|');
      const w = line.weight;
      const noted = line.note === null ? 0n : w;
      const nonNull = amount === null ? 0n : w;
      const sum = (amount ?? 0n) * w;
      const row = [w, w, noted, sum, nonNull, sum, nonNull];
      additive.set(
        at,
        (additive.get(at) ?? row.map(() => 0n)).map((value, index) => value + (row[index] ?? 0n)),
      );
      if (line.note !== null) bump(notes, `${at}|${line.note}`, w);
      bump(largest, `${at}|${net}`, w);
    }
  }
  const dropZero = (map: Map<string, bigint>) => new Map([...map].filter(([, weight]) => weight !== 0n));
  return { additive, notes: dropZero(notes), largest: dropZero(largest) };
}
