/** What an executor is told to do with a report generation: to make it, to show it, or to drop it. */
import { parseToken } from '../../base/index.ts';
import { idKey, newestNamed, type ReportRecord, type StateView } from '../../statemachine/index.ts';
import { PrepareStep, reportDefinition, type Prepare } from '../../wire/index.ts';
import { copiesOf } from './copies-message.ts';
import { topologyDefinition, type Work, type WorkContext } from './work-messages.ts';

/** Undefined without a current grant. */
export function reportWork(context: WorkContext, report: ReportRecord): Work<Prepare> | undefined {
  const { view } = context;
  const { change } = report;
  const sink = view.sinks.get(idKey(report.sinkId));
  const source = view.sources.get(idKey(report.sourceId));
  if (change === null || sink === undefined) return undefined;
  const id = reportDefinition(report.id, report.generation);
  const message: Prepare = {
    token: parseToken(change.token),
    leaderTerm: BigInt(context.leaderTerm),
    sourceId: BigInt(report.sourceId),
    sinkId: BigInt(sink.id),
    sinkEpoch: parseToken(change.sinkEpoch),
    clusterId: context.clusterId,
    reports: [id],
    step: stepOf(view, report),
    // Of a source that was removed nothing is left but what is to be dropped.
    ...(source === undefined ? { copies: [], pending: [] } : copiesOf(view, source)),
    superseded: change.superseded.map(parseToken),
  };
  const definitions = [
    ...topologyDefinition(view),
    ...(source === undefined ? [] : [{ id: `source/${source.id}`, json: source.spec }]),
    { id: `sink/${sink.id}`, json: sink.spec },
    { id, json: report.spec },
  ];
  return { message, definitions };
}

function stepOf(view: StateView, report: ReportRecord): PrepareStep {
  if (report.phase === 'building' && !report.copiesLost) return PrepareStep.PREPARE_STEP_SHOW;
  if (report.phase !== 'retired') {
    return report.replaces === 0 ? PrepareStep.PREPARE_STEP_ALL : PrepareStep.PREPARE_STEP_HIDDEN;
  }
  // Else the view is another generation's, or will be.
  const isLast = newestNamed(view, report.name) === undefined;
  return isLast ? PrepareStep.PREPARE_STEP_DROP_VIEW : PrepareStep.PREPARE_STEP_DROP;
}
