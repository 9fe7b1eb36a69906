/**
 * Report generations that come and go while their source is captured: the grant of each one's next step in
 * its report database, followed until an executor has said how it ended.
 */
import { hasCaughtUp, type ReportGrant, type ReportRecord } from '../../statemachine/index.ts';
import { replaced, type Round } from './round.ts';
import type { PrepareOutcome } from './types.ts';

/** After a failure nothing is granted for so long, in milliseconds. */
const RETRY_AFTER_MS = 5_000;

export function planGenerations(round: Round): void {
  for (const report of round.input.view.reports.values()) {
    if (round.full) return;
    if ((report.phase === 'live' && !report.copiesLost) || round.decidedReports.has(report.id)) continue;
    const sink = round.readySink(report.sinkId);
    if (sink === undefined || !isDue(round, report)) continue;
    const { change } = report;
    if (change === null) {
      if (report.changeRetryAtMs <= round.input.now.logTimeMs) grant(round, report);
    } else if (change.sinkEpoch !== sink.epoch || isLost(round, change)) {
      grant(round, report);
    } else if (round.needsDispatch(change.executorId, change.token, false)) {
      round.dispatches.push({ kind: 'report', executorId: change.executorId, report });
    }
  }
}

function isDue(round: Round, report: ReportRecord): boolean {
  return report.phase !== 'building' || report.copiesLost || hasCaughtUp(round.input.view, report);
}

/** Its executor is gone, or it is past its deadline: another one begins again, which is harmless. */
function isLost(round: Round, change: ReportGrant): boolean {
  const { now, config } = round.input;
  if (!round.judgement.liveness.has(change.executorId)) return true;
  return now.logTimeMs - change.grantedMs >= config.prepareDeadlineMs;
}

function grant(round: Round, report: ReportRecord): void {
  const executorId = round.placement.takeForCollector(report.change?.executorId);
  if (executorId === undefined) return;
  const { id: reportId, generation } = report;
  round.operations.push({
    cause: 'report-granted',
    operation: { type: 'report.grant', v: 1, reportId, generation, executorId },
    ...replaced(report.change),
  });
}

/** Answers false for an outcome under a token that is not current any more. */
export function planReportOutcome(round: Round, outcome: PrepareOutcome): boolean {
  const { token, copies, code: errorCode, message: errorMessage } = outcome;
  for (const { id: reportId, generation, change } of round.input.view.reports.values()) {
    if (change?.token !== token) continue;
    round.decidedReports.add(reportId);
    const retryAfterMs = errorCode === '' ? 0 : RETRY_AFTER_MS;
    const failure = { errorCode, errorMessage, retryAfterMs };
    round.operations.push({
      cause: 'report-finished',
      operation: { type: 'report.finish', v: 1, reportId, generation, token, copies, ...failure },
    });
    return true;
  }
  return false;
}
