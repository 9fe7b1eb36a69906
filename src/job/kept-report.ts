/**
 * Reports that a job file leaves as they are. What they are compiled to depends on what their dimensions had
 * when they were declared: their copies are of then (design 6.2), and a column that a dimension has got since
 * makes no other report.
 */
import { mutated } from '../base/index.ts';
import type { ColumnSpec, CompiledReport } from './model.ts';
import { specHash } from './report-hash.ts';

/** Whether the file says of a report what is declared, so that nothing of it is to be looked at again. */
export function isKept(compiled: CompiledReport, declared: CompiledReport): boolean {
  const today = mutated('job.dimensionOfToday') ? declared : withDimensions(declared, () => []);
  return specHash(withDimensions(compiled, () => [])) === specHash(today);
}

/** Returns the report over dimensions that have these columns. */
export function withDimensions(
  report: CompiledReport,
  columnsOf: (table: string) => readonly ColumnSpec[],
): CompiledReport {
  const inputs = report.inputs.map((input) =>
    input.kind === 'dimension' ? { ...input, columns: columnsOf(input.table) } : input,
  );
  return { ...report, inputs };
}
