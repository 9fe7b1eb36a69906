/**
 * Dimension copies of a report generation (design 6.2): made once, under the token of one grant, and read
 * by all of its tasks. What was added with one copy is retracted with the same; other rows are another
 * generation.
 */
import { mutated } from '../../base/index.ts';
import { idKey } from './keys.ts';
import type { LoseCopies, OperationResult, ReportCopies } from './operations.ts';
import { rebuild } from './rebuild.ts';
import type { ReportRecord } from './records.ts';
import { accept, refuse } from './result.ts';
import type { StateView } from '../view.ts';
import type { StateWriter } from './writer.ts';

/** Whether tasks of a report may be sent: its tables and dimension copies are there, and whole row states. */
export function isPrepared({ sources }: Pick<StateView, 'sources'>, report: ReportRecord): boolean {
  if (mutated('state.sentUnprepared')) return true;
  if (report.phase !== 'building' && report.phase !== 'live') return false;
  if (report.prepared === '' || report.copiesLost) return false;
  const source = sources.get(idKey(report.sourceId));
  return source?.prepare?.done === true && !source.holed;
}

/**
 * Takes up what a prepare under `token` has made or found of a report's copies. Answers false where one was
 * lost: then the report has begun anew.
 */
export function settleCopies(
  writer: StateWriter,
  report: ReportRecord,
  token: string,
  told: readonly ReportCopies[],
): boolean {
  const { id, generation } = report;
  const mine = told.find((one) => one.reportId === id && one.generation === generation);
  const isFirst = report.prepared === '' || mutated('state.copiesOfEachPrepare');
  if (!isFirst && mine?.lost === true) {
    const without: ReportRecord = { ...report, prepared: '', copies: [], copiesLost: true };
    if (mutated('state.lostCopyReplaced')) writer.reports.put(idKey(id), without);
    else rebuild(writer, without);
    return false;
  }
  const made = isFirst ? { prepared: token, copies: mine?.copies ?? [] } : {};
  writer.reports.put(idKey(id), { ...report, ...made, copiesLost: false });
  return true;
}

/** Has a report's copies looked after under a grant of its own; other reports go on. */
export function applyLoseCopies(writer: StateWriter, input: LoseCopies): OperationResult {
  const report = writer.reports.get(idKey(input.reportId));
  if (report?.generation !== input.generation) {
    return refuse('UNKNOWN_REPORT', `report ${input.reportId}/${input.generation} is not known`);
  }
  // Others are read by now, or none.
  if (report.prepared !== input.prepared || report.phase === 'retired') return accept();
  // The step under way was granted for another reason: its answer says nothing of the copies.
  writer.reports.put(idKey(report.id), { ...report, copiesLost: true, change: null });
  return accept();
}
