/** Settles which SELECTs find the touched keys of a report, once the types of captured columns are known. */
import { must } from '../../base/index.ts';
import { parseColumnType } from '../../sql/index.ts';
import { unknownKeys } from './affected-keys-rules.ts';
import type { JobReport, JobTouched } from '../file/job-file.ts';
import type { AffectedKeys, CapturedTable } from '../model.ts';

/** Types of which two values that are equal in SQL are one key. */
const EXACT: readonly string[] = [
  ...['BIGINT', 'DECIMAL', 'TEXT', 'BYTES', 'BOOL', 'DATE', 'DATETIME', 'TIMESTAMP', 'TIME'],
];

/** @throws TidemarkError `TOUCHED_UNKNOWN`. */
export function compileAffectedKeys(
  report: JobReport,
  tables: readonly CapturedTable[],
): AffectedKeys | undefined {
  if (report.affectedKeys === undefined) return undefined;
  const touched = report.affectedKeys.touched.map(({ alias, sql, linked }) => {
    if (linked === undefined || isExact(report, tables, alias, linked)) return { alias, sql };
    if (linked.otherwise === undefined) {
      throw unknownKeys(
        alias,
        report.keys.map(({ name }) => name),
      );
    }
    return { alias, sql: linked.otherwise };
  });
  return { touched, narrowed: report.affectedKeys.narrowed };
}

function isExact(
  report: JobReport,
  tables: readonly CapturedTable[],
  alias: string,
  { columns }: NonNullable<JobTouched['linked']>,
): boolean {
  const input = must(
    report.inputs.find((one) => one.alias === alias),
    `the input ${alias}`,
  );
  const table = tables.find((one) => one.table === input.table);
  return report.keys.every((key, at) => {
    const column = table?.columns.find(({ name }) => name.toLowerCase() === columns[at]);
    if (column === undefined) return false;
    const { kind } = parseColumnType(column.type);
    return EXACT.includes(kind) && kind === parseColumnType(key.type).kind;
  });
}
