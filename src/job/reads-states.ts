/** Which reports need the row states of their source. */
import type { CompiledReport } from './model.ts';

/**
 * Answers whether tasks of the report read row states (design 6.2): with a second input that changes, each
 * one's change rows meet the state of the others; `affectedKeys` reads every captured input so (6.9).
 */
export function readsStates(report: Pick<CompiledReport, 'inputs' | 'affectedKeys'>): boolean {
  if (report.affectedKeys !== undefined) return true;
  return report.inputs.filter(({ kind }) => kind !== 'dimension').length > 1;
}
