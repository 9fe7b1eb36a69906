/** Fills the sample's dimension tables. The rows are fixed: every run, seed and engine has the same. */
import type { SqlConnection, SqlParam } from '../../sql/index.ts';

export const MERCHANT_COUNT = 12;
export const PRODUCT_COUNT = 60;

const COUNTRIES = ['DE', 'FR', 'US', 'IN', 'JP', 'BR'] as const;
const TIERS = ['gold', 'Gold', 'silver', 'bronze'] as const;
/** Minutes east of Greenwich; some are not whole hours. */
const OFFSETS = [60, 60, -300, 330, 540, -180] as const;
const CATEGORIES = ['bakery', 'books', 'café', 'flowers', 'games', 'garden', 'music', '茶'] as const;

/** Writes merchants and products unless they are there. */
export async function seedDimensions(connection: SqlConnection): Promise<void> {
  const found = await connection.query('SELECT COUNT(*) FROM merchants');
  if (found.rows[0]?.[0] !== 0n) return;
  await connection.begin('write');
  await connection.insertRows(
    'merchants',
    [
      'merchant_id',
      'name',
      'country',
      'tier',
      'utc_offset_minutes',
      'day_start_minutes',
      'commission_permille',
    ],
    Array.from({ length: MERCHANT_COUNT }, (_, index) => merchant(index + 1)),
  );
  await connection.insertRows(
    'products',
    ['product_id', 'name', 'category', 'list_price', 'tax_permille'],
    Array.from({ length: PRODUCT_COUNT }, (_, index) => product(index + 1)),
  );
  await connection.commit();
}

function merchant(id: number): SqlParam[] {
  const place = id % COUNTRIES.length;
  return [
    id,
    `Merchant ${id}`,
    COUNTRIES[place] ?? '',
    TIERS[id % TIERS.length] ?? '',
    OFFSETS[place] ?? 0,
    // Business days begin between midnight and 06:15 local time.
    (id * 125) % 500 === 0 ? 0 : (id * 75) % 376,
    20 + ((id * 7) % 60),
  ];
}

function product(id: number): SqlParam[] {
  return [
    id,
    `Product ${id}`,
    CATEGORIES[id % CATEGORIES.length] ?? '',
    150 + ((id * 977) % 9_000),
    id % 3 === 0 ? 70 : 190,
  ];
}
