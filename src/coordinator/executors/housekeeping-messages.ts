/** Turns grants of folding and of dropping history into the messages that executors get. */
import { parseToken } from '../../base/index.ts';
import {
  idKey,
  spanPrefix,
  windowKey,
  type ReportRecord,
  type SourceRecord,
} from '../../statemachine/index.ts';
import { reportDefinition, type DropHistory, type FoldReport } from '../../wire/index.ts';
import { topologyDefinition, type Work, type WorkContext } from './work-messages.ts';

/** Makes the message that lets an executor fold a report; undefined without a current grant. */
export function foldWork(context: WorkContext, report: ReportRecord): Work<FoldReport> | undefined {
  const { view } = context;
  const { fold } = report;
  const sink = view.sinks.get(idKey(report.sinkId));
  if (fold === null || sink === undefined) return undefined;
  const message: FoldReport = {
    token: parseToken(fold.token),
    leaderTerm: BigInt(context.leaderTerm),
    reportId: BigInt(report.id),
    generation: BigInt(report.generation),
    sourceId: BigInt(report.sourceId),
    sinkId: BigInt(report.sinkId),
    sinkEpoch: parseToken(fold.sinkEpoch),
    ends: spanEnds(context, report, fold.window),
    superseded: fold.superseded.map(parseToken),
  };
  const definitions = [
    { id: `sink/${sink.id}`, json: sink.spec },
    { id: reportDefinition(report.id, report.generation), json: report.spec },
  ];
  return { message, definitions };
}

function spanEnds({ view }: WorkContext, report: ReportRecord, upTo: number): FoldReport['ends'] {
  const ends: FoldReport['ends'] = [];
  for (const span of view.spans.withPrefix(spanPrefix(report.id))) {
    if (span.generation !== report.generation || span.lastWindow <= report.folded.window) continue;
    if (span.lastWindow > upTo) break;
    const window = view.windows.get(windowKey(report.sourceId, span.lastWindow));
    if (window === undefined) break;
    ends.push({ window: BigInt(span.lastWindow), seal: parseToken(window.epoch) });
  }
  return ends;
}

/** Makes the message that lets an executor drop history; undefined without a current grant. */
export function dropWork(context: WorkContext, source: SourceRecord): Work<DropHistory> | undefined {
  const { view } = context;
  if (source.drop === null || view.topology === undefined) return undefined;
  const message: DropHistory = {
    token: parseToken(source.drop.token),
    leaderTerm: BigInt(context.leaderTerm),
    sourceId: BigInt(source.id),
    topologyVersion: view.topology.version,
    window: BigInt(source.drop.window),
    superseded: source.drop.superseded.map(parseToken),
  };
  const definitions = [...topologyDefinition(view), { id: `source/${source.id}`, json: source.spec }];
  return { message, definitions };
}
