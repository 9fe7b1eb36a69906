/** A small valid job file to start from, and ways to bend it. */
import { parse, stringify } from 'yaml';

export const JOB_YAML = `version: 1
job: shop
sources:
  shop:
    mysql: {url: {env: SHOP_URL}}
    tables: [orders, {table: lines, shardKey: merchant_id}]
    window: {lengthMs: 1000}
stores:
  main:
    mysql: {url: {file: secrets/store}}
databases:
  reports:
    mysql: {url: {env: REPORTS_URL}}
reports:
  sales:
    inputs: {o: {changes: orders}, m: {dimension: merchants}}
    keys: {country: TEXT(2), day: DATE}
    measures:
      orders: {kind: count}
      revenue: {kind: sum, type: "decimal(12,2)"}
      largest: {kind: max, type: BIGINT}
    sql: |
      SELECT m.country, o.day, 1 AS orders, o.amount AS revenue, o.amount AS largest, o._w
      FROM o JOIN m ON m.merchant_id = o.merchant_id
`;

type Tree = Record<string, unknown>;

/** The job with one value changed; undefined removes it. */
export function bend(path: string, value: unknown): string {
  const tree = parse(JOB_YAML) as Tree;
  const parts = path.split('.');
  const last = parts.pop() ?? '';
  let at: Tree = tree;
  for (const part of parts) at = at[part] as Tree;
  if (value === undefined) Reflect.deleteProperty(at, last);
  else at[last] = value;
  return stringify(tree);
}

/** The job on the embedded engine, without what that refuses. */
export function embeddedJob(): Tree {
  const tree = parse(JOB_YAML) as Record<string, Record<string, Tree>>;
  for (const part of ['sources', 'stores', 'databases']) {
    for (const database of Object.values(tree[part] ?? {})) {
      Reflect.deleteProperty(database, 'mysql');
      database['embedded'] = { file: `${part}.db` };
    }
  }
  return tree;
}
