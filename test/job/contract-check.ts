/** What the report contract says of a text alone. */
import { isTidemarkError, type TidemarkError } from '../../src/base/index.ts';
import { checkReportSql } from '../../src/job/sql/sql-contract.ts';
import type { JobInput } from '../../src/job/index.ts';
import type { EngineKind } from '../../src/sql/index.ts';

const INPUTS = [
  { alias: 'o', kind: 'changes', table: 'orders' },
  { alias: 'm', kind: 'dimension', table: 'merchants' },
] as const;

export const JOINED: readonly JobInput[] = [
  ...INPUTS,
  { alias: 'l', kind: 'changes', table: 'lines' },
  { alias: 's', kind: 'state', table: 'shops' },
];

export function check(
  sql: string,
  kind: EngineKind = 'mysql',
  inputs: readonly JobInput[] = INPUTS,
): TidemarkError | undefined {
  try {
    checkReportSql(sql, inputs, kind);
    return undefined;
  } catch (error) {
    if (isTidemarkError(error)) return error;
    throw error;
  }
}
