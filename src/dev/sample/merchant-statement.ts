/** The long one: what a merchant is billed and paid per business day, from one table of order lines. */
export const MERCHANT_STATEMENT_SQL = `WITH
-- Every line with its merchant's and product's terms.
priced AS (
  SELECT
    l.line_id,
    l.merchant_id,
    l.product_id,
    l.quantity,
    l.unit_price,
    l.discount,
    l.quantity * l.unit_price AS gross,
    p.list_price,
    p.tax_permille,
    m.commission_permille,
    m.country,
    m.tier,
    l.created_ms + (m.utc_offset_minutes - m.day_start_minutes) * 60000 AS shifted_ms,
    l._w AS _w
  FROM l
  JOIN p ON p.product_id = l.product_id
  JOIN m ON m.merchant_id = l.merchant_id
),
-- The merchant's business day, and what the line comes to.
dated AS (
  SELECT
    merchant_id,
    product_id,
    quantity,
    unit_price,
    list_price,
    tax_permille,
    commission_permille,
    country,
    tier,
    gross,
    COALESCE(discount, 0) AS discount,
    gross - COALESCE(discount, 0) AS net,
    CAST((shifted_ms - shifted_ms % 86400000) / 86400000 AS SIGNED) AS business_day,
    _w
  FROM priced
),
-- Commission depends on the tier, tax on the product; both are rounded down to minor units.
billed AS (
  SELECT
    merchant_id,
    business_day,
    gross,
    discount,
    net,
    quantity,
    unit_price,
    list_price,
    country,
    tier,
    CAST((net * tax_permille - (net * tax_permille) % 1000) / 1000 AS SIGNED) AS tax,
    CASE
      WHEN tier = 'gold' OR tier = 'Gold'
        THEN CAST((net * (commission_permille - 10) - (net * (commission_permille - 10)) % 1000)
                  / 1000 AS SIGNED)
      ELSE CAST((net * commission_permille - (net * commission_permille) % 1000) / 1000 AS SIGNED)
    END AS commission,
    CASE
      WHEN gross < 1000 THEN 'small'
      WHEN gross < 10000 THEN 'medium'
      ELSE 'large'
    END AS size_band,
    _w
  FROM dated
)
SELECT
  merchant_id,
  business_day,
  'gross' AS entry,
  size_band,
  1 AS entries,
  gross AS amount,
  gross AS average,
  _w
FROM billed
UNION ALL
SELECT
  merchant_id,
  business_day,
  'discount' AS entry,
  size_band,
  1 AS entries,
  0 - discount AS amount,
  0 - discount AS average,
  _w
FROM billed
WHERE discount > 0
UNION ALL
SELECT
  merchant_id,
  business_day,
  'tax' AS entry,
  size_band,
  1 AS entries,
  tax AS amount,
  tax AS average,
  _w
FROM billed
WHERE country <> 'US'
UNION ALL
SELECT
  merchant_id,
  business_day,
  'commission' AS entry,
  size_band,
  1 AS entries,
  0 - commission AS amount,
  0 - commission AS average,
  _w
FROM billed
UNION ALL
SELECT
  merchant_id,
  business_day,
  CASE WHEN unit_price > list_price THEN 'above list' ELSE 'below list' END AS entry,
  size_band,
  1 AS entries,
  quantity * (unit_price - list_price) AS amount,
  quantity * (unit_price - list_price) AS average,
  _w
FROM billed
WHERE unit_price <> list_price`;
