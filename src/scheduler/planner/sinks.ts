/**
 * Report databases (design 6.12): a fresh epoch for each try, an executor that sets it and tells what is
 * there, and a probe every few seconds, so that a failover with nothing in flight is noticed too.
 */
import { parseToken, tokenTerm } from '../../base/index.ts';
import { isReconciled, type SinkRecord } from '../../statemachine/index.ts';
import type { Round } from './round.ts';

export function planSinks(round: Round): void {
  for (const sink of round.input.view.sinks.values()) {
    if (round.full) return;
    if (round.decidedSinks.has(sink.id)) continue;
    if (!isReconciled(sink)) planReconcile(round, sink);
    else if (round.doubtedSinks.has(sink.id)) grantEpoch(round, sink, undefined);
    else planProbe(round, sink);
  }
}

/**
 * A try belongs to the leader that granted it: another one, and one whose executor has opened a new stream,
 * begins again under a fresh epoch.
 */
function planReconcile(round: Round, sink: SinkRecord): void {
  const { memory, now, config } = round.input;
  const { epoch, executorId } = sink;
  if (epoch !== null && executorId !== 0 && round.placement.isLive(executorId)) {
    const sent = memory.sent.get(epoch);
    if (sent === undefined && tokenTerm(parseToken(epoch)) === memory.term) {
      round.dispatches.push({ kind: 'reconcile', executorId, sink });
      return;
    }
    const late = sent !== undefined && now.monotonicMs - sent.atMs >= config.reconcileDeadlineMs;
    if (sent !== undefined && !late && !round.needsDispatch(executorId, epoch, false)) return;
  }
  if (sink.retryAtMs > now.logTimeMs) return;
  grantEpoch(round, sink, memory.sinkFailures.get(sink.id)?.executorId);
}

function grantEpoch(round: Round, sink: SinkRecord, avoid: number | undefined): void {
  const executorId = round.placement.takeForCollector(avoid);
  if (executorId === undefined) return;
  round.operations.push({
    cause: 'sink-granted',
    operation: { type: 'sink.grant', v: 1, sinkId: sink.id, executorId },
  });
}

function planProbe(round: Round, sink: SinkRecord): void {
  const { memory, now, config } = round.input;
  const last = memory.probed.get(sink.id) ?? memory.leaderSinceMs;
  if (now.monotonicMs - last < config.probeMs) return;
  const executorId = round.placement.anyOf(sink.id + Math.floor(now.monotonicMs / config.probeMs));
  if (executorId !== undefined) round.dispatches.push({ kind: 'probe', executorId, sink });
}
