/**
 * Row states (design 6.6): the next windows of each source and store shard, one grant at a time, and the
 * ladder for those that fail: another executor at once, then a delay that doubles. They are never given up:
 * without them reports over several changing inputs stand still.
 */
import {
  firstForStates,
  idKey,
  statesWindow,
  windowKey,
  type ReportRecord,
  type ShardStates,
  type SourceRecord,
  type StateView,
  type StatesGrant,
  type WindowRecord,
} from '../../statemachine/index.ts';
import { LIMITS, mutated } from '../../base/index.ts';
import { planLostWindows } from './lost-windows.ts';
import { backoff, type Round } from './round.ts';
import type { StatesOutcome } from './types.ts';

/**
 * Whether tasks of a report may read a window: its row states, if it reads any, have reached it. What lies
 * before a generation's base is read from nothing else.
 */
export function statesReach(view: StateView, report: ReportRecord, window: number): boolean {
  const reads = report.readsStates || window <= report.baseWindow;
  if (!reads || mutated('scheduler.statesNotAwaited')) return true;
  const source = view.sources.get(idKey(report.sourceId));
  return source !== undefined && (statesWindow(source) ?? 0) >= window;
}

export function planStates(round: Round): void {
  for (const source of round.input.view.sources.values()) {
    if (source.prepare?.done !== true || round.decidedSources.has(source.id)) continue;
    for (const states of source.states ?? []) {
      if (round.full) return;
      if (round.decidedStates.has(statesKey(source, states.shard))) continue;
      if (states.grant === null) grantNext(round, source, states);
      else followGrant(round, { source, states, grant: states.grant });
    }
  }
}

const statesKey = (source: SourceRecord, shard: string): string => `${source.id}/${shard}`;

function grantNext(round: Round, source: SourceRecord, states: ShardStates): void {
  if (states.retryAtMs > round.input.now.logTimeMs) return;
  const failed = states.failedExecutorId === 0 ? undefined : states.failedExecutorId;
  const operation = nextGrant(round, { source, states }, { avoid: failed, failedAttempt: false });
  if (operation !== undefined) round.operations.push({ cause: 'states-granted', operation });
}

interface Granted {
  readonly source: SourceRecord;
  readonly states: ShardStates;
  readonly grant: StatesGrant;
}

function followGrant(round: Round, granted: Granted): void {
  const { executorId, token, grantedMs } = granted.grant;
  const held = round.input.executors.get(executorId)?.running.has(token) === true;
  if (!round.judgement.liveness.has(executorId)) {
    takeOver(round, granted, held);
    return;
  }
  if (round.input.now.logTimeMs - grantedMs >= deadlineMs(round, granted)) {
    planLate(round, granted);
    return;
  }
  if (round.needsDispatch(executorId, token, held) || round.isLost(executorId, token, held)) {
    const { source, states } = granted;
    round.dispatches.push({ kind: 'states', executorId, source, states });
  }
}

/** A large first window takes its time; each failed attempt is given as much again. */
function deadlineMs(round: Round, { source, states, grant }: Granted): number {
  const { taskDeadlineMs, statesThousandRowsMs } = round.input.config;
  let rows = 0;
  for (let window = grant.firstWindow; window <= grant.lastWindow; window += 1) {
    const sealed = round.input.view.windows.get(windowKey(source.id, window));
    if (sealed !== undefined) rows += rowsOn(sealed, states.shard);
  }
  return (taskDeadlineMs + (rows / 1_000) * statesThousandRowsMs) * (1 + states.attempts);
}

/** Past its deadline: elsewhere under a new token, which kills the old connection; at last after a delay. */
function planLate(round: Round, granted: Granted): void {
  const { source, states, grant } = granted;
  const { attemptsMax } = round.input.config;
  if (states.attempts + 1 < attemptsMax) {
    takeOver(round, granted, true);
    return;
  }
  const { shard, window } = states;
  round.operations.push({
    cause: 'states-failed',
    replacesStates: { executorId: grant.executorId, sourceId: source.id, shard, token: grant.token },
    operation: {
      type: 'state.finish',
      v: 1,
      sourceId: source.id,
      shard,
      token: grant.token,
      window,
      errorCode: 'CANCELLED',
      errorMessage: 'row states past their deadline',
      retryAfterMs: delayMs(round, states),
    },
  });
}

function takeOver(round: Round, { source, states, grant }: Granted, failedAttempt: boolean): void {
  const operation = nextGrant(round, { source, states }, { avoid: grant.executorId, failedAttempt });
  if (operation === undefined) return;
  const { executorId, token } = grant;
  round.operations.push({
    cause: 'states-taken-over',
    operation,
    replacesStates: { executorId, sourceId: source.id, shard: states.shard, token },
  });
}

/** The next windows in one grant: up to a number of rows, and of one topology and one set of schemas. */
function nextGrant(
  round: Round,
  { source, states }: Omit<Granted, 'grant'>,
  options: { readonly avoid: number | undefined; readonly failedAttempt: boolean },
) {
  const firstWindow = firstForStates(round.input.view, source.id, states);
  const lastWindow = lastOfGrant(round.input.view, source, states, firstWindow);
  if (lastWindow === undefined) return undefined;
  const executorId = round.placement.takeForStates(options.avoid);
  if (executorId === undefined) return undefined;
  const { failedAttempt } = options;
  return {
    type: 'state.grant',
    v: 1,
    sourceId: source.id,
    shard: states.shard,
    firstWindow,
    lastWindow,
    executorId,
    failedAttempt,
  } as const;
}

function lastOfGrant(
  view: StateView,
  source: SourceRecord,
  states: ShardStates,
  firstWindow: number,
): number | undefined {
  const first = view.windows.get(windowKey(source.id, firstWindow));
  if (first === undefined) return undefined;
  let last = first;
  let rows = rowsOn(first, states.shard);
  for (let count = 1; count < LIMITS.statesWindowsPerGrantMax; count += 1) {
    const next = view.windows.get(windowKey(source.id, last.window + 1));
    if (next === undefined || !isAlike(first, next)) break;
    rows += rowsOn(next, states.shard);
    if (rows > LIMITS.statesRowsPerGrantMax) break;
    last = next;
  }
  return last.window;
}

function isAlike(one: WindowRecord, other: WindowRecord): boolean {
  const schemas = ({ schemaVersions }: WindowRecord): string =>
    schemaVersions.map(({ table, version }) => `${table} ${version}`).join('\n');
  return one.topologyVersion === other.topologyVersion && schemas(one) === schemas(other);
}

const rowsOn = (window: WindowRecord, shard: string): number =>
  window.shards.find((sealed) => sealed.shard === shard)?.rows ?? 0;

/** What an executor says of a grant: done, failed, or that the shard has lost windows that were in. */
export function planStatesOutcome(round: Round, outcome: StatesOutcome): void {
  const { sourceId, shard, token, window } = outcome;
  const source = round.input.view.sources.get(idKey(sourceId));
  const states = source?.states?.find((known) => known.shard === shard);
  const { grant } = states ?? {};
  if (source === undefined || states === undefined || grant?.token !== token) {
    round.stale.push(outcome);
    return;
  }
  const key = statesKey(source, shard);
  if (round.decidedStates.has(key)) return;
  round.decidedStates.add(key);
  if (outcome.code === 'STATE_GAP' && window < states.window) {
    const operation = { type: 'state.reset', v: 1, sourceId, shard, token, window } as const;
    round.operations.push({ cause: 'states-reset', operation });
    return;
  }
  const failed = outcome.code !== '';
  if (outcome.lostWindow !== undefined) {
    const firstWindow = mutated('scheduler.statesLoseWholeGrant') ? grant.firstWindow : outcome.lostWindow;
    planLostWindows(round, { sourceId, token, firstWindow, lastWindow: grant.lastWindow });
  }
  round.operations.push({
    cause: failed ? 'states-failed' : 'states-finished',
    operation: {
      type: 'state.finish',
      v: 1,
      sourceId,
      shard,
      token,
      // A failure may be told without a mark.
      window: Math.max(window, states.window),
      errorCode: outcome.code,
      errorMessage: outcome.message,
      retryAfterMs: failed ? delayMs(round, states) : 0,
    },
  });
}

/** None while there is another executor to go to; then doubled with each failure. */
function delayMs(round: Round, { attempts }: ShardStates): number {
  const { attemptsMax, sourceRetryBaseMs, sourceRetryCapMs } = round.input.config;
  if (attempts + 1 < attemptsMax) return 0;
  return backoff(attempts + 1 - attemptsMax, sourceRetryBaseMs, sourceRetryCapMs);
}
