/**
 * What a source needs once its report database is reconciled, in order: its tables and dimension copies,
 * its collector. A collector that must read again does so under a new epoch (design 6.3): one that its
 * executor does not host any more is never started again under the old one.
 */
import { mutated, parseToken, tokenTerm } from '../../base/index.ts';
import { openPrepare, takesTables, type SourceRecord } from '../../statemachine/index.ts';
import { replaced, type Round } from './round.ts';

export function planSources(round: Round): void {
  const { view } = round.input;
  for (const source of view.sources.values()) {
    if (round.full) return;
    if (round.readySink(source.sinkId) === undefined || round.decidedSources.has(source.id)) continue;
    if (source.prepare?.done === true) planCollector(round, source);
    else {
      const failed = round.input.memory.sourceFailures.get(source.id)?.executorId;
      planPrepare(round, source, { retryAtMs: source.retryAtMs, failed });
    }
  }
  for (const source of view.sources.values()) {
    if (round.full) return;
    planAddition(round, source);
  }
}

/** Beside everything else that becomes of a source. */
function planAddition(round: Round, source: SourceRecord): void {
  const { addition, prepare } = source;
  if (addition === null || prepare?.done !== true || !takesTables(source)) return;
  if (round.readySink(source.sinkId) === undefined || round.decidedSources.has(source.id)) return;
  const { retryAtMs, failedExecutorId } = addition;
  planPrepare(round, source, { retryAtMs, failed: failedExecutorId === 0 ? undefined : failedExecutorId });
}

interface Failed {
  readonly retryAtMs: number;
  readonly failed: number | undefined;
}

function planPrepare(round: Round, source: SourceRecord, { retryAtMs, failed }: Failed): void {
  const prepare = openPrepare(source);
  if (prepare !== null && isRegistered(round, prepare.executorId)) {
    if (!isPrepareLate(round, prepare.token)) {
      if (round.needsDispatch(prepare.executorId, prepare.token, false)) {
        round.dispatches.push({ kind: 'prepare', executorId: prepare.executorId, source });
      }
      return;
    }
  }
  if (retryAtMs > round.input.now.logTimeMs) return;
  const executorId = round.placement.takeForCollector(prepare?.executorId ?? failed);
  if (executorId === undefined) return;
  round.operations.push({
    cause: 'prepare-granted',
    operation: { type: 'prepare.grant', v: 1, sourceId: source.id, executorId },
    ...replaced(prepare),
  });
}

function isPrepareLate(round: Round, token: string): boolean {
  const { memory, now, config } = round.input;
  const sent = memory.sent.get(token);
  return sent !== undefined && now.monotonicMs - sent.atMs >= config.prepareDeadlineMs;
}

function planCollector(round: Round, source: SourceRecord): void {
  const { collector } = source;
  if (collector === null) {
    // Nobody can read on: a person decides what happens next.
    if (source.lostPosition !== null) return;
    if (source.retryAtMs > round.input.now.logTimeMs) return;
    grantCollector(round, source, round.input.memory.sourceFailures.get(source.id)?.executorId);
    return;
  }
  if (!isRegistered(round, collector.executorId)) {
    grantCollector(round, source, undefined);
    return;
  }
  const { executorId, epoch } = collector;
  const hosted = round.input.executors.get(executorId)?.collecting.has(epoch) === true;
  if (!round.needsDispatch(executorId, epoch, hosted)) return;
  if (wasNeverSent(round, epoch)) round.dispatches.push({ kind: 'collector', executorId, source });
  else grantCollector(round, source, undefined);
}

/** Only of its own term's grants a leader knows that nobody has sent them. */
function wasNeverSent(round: Round, epoch: string): boolean {
  const { memory } = round.input;
  if (mutated('scheduler.collectorKeepsEpoch')) return true;
  return tokenTerm(parseToken(epoch)) === memory.term && !memory.sent.has(epoch);
}

function grantCollector(round: Round, source: SourceRecord, avoid: number | undefined): void {
  const executorId = round.placement.takeForCollector(avoid);
  if (executorId === undefined) return;
  const { collector } = source;
  const operation = { type: 'collector.grant', v: 1, sourceId: source.id, executorId } as const;
  if (collector === null) {
    const again = round.input.memory.sourceFailures.has(source.id);
    round.operations.push({ cause: again ? 'collector-takeover' : 'collector-granted', operation });
    return;
  }
  round.operations.push({
    cause: 'collector-takeover',
    operation,
    replacesCollector: {
      executorId: collector.executorId,
      sourceId: source.id,
      epoch: collector.epoch,
    },
  });
}

/** An executor that is being expired in this very round counts as gone in the next. */
function isRegistered(round: Round, executorId: number): boolean {
  return round.judgement.liveness.has(executorId);
}
