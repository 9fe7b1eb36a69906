/**
 * Row states of a source (design 6.6): which windows of which store shard are granted to whom, and up to
 * where they are in. Windows are granted strictly after what is finished; what keeps the states themselves
 * right is the mark on the shard, which a grant's transaction checks.
 */
import { mutated } from '../../base/index.ts';
import { nextToken } from './counters.ts';
import type { StateView } from '../view.ts';
import { idKey, windowKey, windowPrefix } from './keys.ts';
import type { ApplyMeta, FinishStates, GrantStates, OperationResult, ResetStates } from './operations.ts';
import type { ShardStates, SourceRecord, StatesGrant } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import type { StateWriter } from './writer.ts';

/** Tokens of grants that ended without success that are remembered, so that their connections are killed. */
const SUPERSEDED_MAX = 4;

/** Row states of one shard before the first window. */
export function newShardStates(shard: string): ShardStates {
  const untried = { superseded: [], attempts: 0, failedExecutorId: 0, retryAtMs: 0, problem: '' };
  return { shard, window: 0, grant: null, ...untried };
}

/** Up to where every shard has a source's row states; undefined if the source keeps none. */
export function statesWindow(source: Pick<SourceRecord, 'states'>): number | undefined {
  if (source.states === null) return undefined;
  return Math.min(...source.states.map(({ window }) => window));
}

/**
 * The first window of a shard's next grant. Where that is not kept any more it is the oldest one that is: the
 * grant fails as long as the shard's mark is behind it, and goes on once a member that holds more is the
 * primary (again).
 */
export function firstForStates(
  { windows }: Pick<StateView, 'windows'>,
  sourceId: number,
  { window }: Pick<ShardStates, 'window'>,
): number {
  const next = window + 1;
  if (windows.get(windowKey(sourceId, next)) !== undefined || mutated('state.gapNeverAsked')) return next;
  for (const kept of windows.withPrefix(windowPrefix(sourceId))) return Math.max(next, kept.window);
  return next;
}

interface Found {
  readonly source: SourceRecord;
  readonly states: ShardStates;
}

function find(writer: StateWriter, input: { sourceId: number; shard: string }): Found | Refusal {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  const states = source.states?.find(({ shard }) => shard === input.shard);
  if (states !== undefined) return { source, states };
  return refuse('BAD_REQUEST', `source ${source.name} keeps no row states on store shard ${input.shard}`);
}

/** Grants the next windows of one shard under a new token; what was granted before is superseded. */
export function applyGrantStates(writer: StateWriter, input: GrantStates, meta: ApplyMeta): OperationResult {
  const found = find(writer, input);
  if ('ok' in found) return found;
  const { source, states } = found;
  const refusal = grantRefusal(writer, input, found);
  if (refusal !== undefined) return refusal;
  const token = nextToken(writer, meta);
  const { firstWindow, lastWindow, executorId } = input;
  put(writer, source, {
    ...states,
    grant: { token, firstWindow, lastWindow, executorId, grantedMs: meta.logTimeMs },
    superseded: supersede(states),
    attempts: states.attempts + (input.failedAttempt ? 1 : 0),
    failedExecutorId: input.failedAttempt ? (states.grant?.executorId ?? 0) : states.failedExecutorId,
    retryAtMs: 0,
  });
  return accept({ token });
}

function grantRefusal(
  writer: StateWriter,
  input: GrantStates,
  { source, states }: Found,
): Refusal | undefined {
  if (writer.executors.get(idKey(input.executorId)) === undefined) {
    return refuse('UNKNOWN_EXECUTOR', `executor ${input.executorId} is not known`);
  }
  if (source.prepare?.done !== true) return refuse('BAD_REQUEST', `source ${source.name} is not prepared`);
  const { firstWindow, lastWindow } = input;
  const what = `windows ${firstWindow} to ${lastWindow} of source ${source.name}`;
  const follows = firstWindow === firstForStates(writer, source.id, states);
  if (!follows && !mutated('state.statesGrantedOutOfOrder')) {
    return refuse('WINDOW_GAP', `${what} do not follow the row states, which end at ${states.window}`);
  }
  const sealed = lastWindow >= firstWindow && lastWindow <= source.lastWindow;
  if (!sealed || writer.windows.get(windowKey(source.id, firstWindow)) === undefined) {
    return refuse('WINDOW_GAP', `${what} are not all sealed and kept`);
  }
  return undefined;
}

/**
 * Ends a grant, under its token alone: all its windows are in, or it failed; then the window says how far
 * the shard's mark is all the same.
 */
export function applyFinishStates(
  writer: StateWriter,
  input: FinishStates,
  meta: ApplyMeta,
): OperationResult {
  const found = find(writer, input);
  if ('ok' in found) return found;
  const { source, states } = found;
  const grant = currentGrant(states, input.token);
  if (grant === undefined) {
    return refuse('STALE_EPOCH', `the row states of source ${source.name} have another grant`);
  }
  if (input.window < states.window || input.window > source.lastWindow) {
    return refuse('WINDOW_GAP', `row states of source ${source.name} cannot end at ${input.window}`);
  }
  const failed = input.errorCode !== '';
  if (!failed && input.window < grant.lastWindow) {
    return refuse('BAD_REQUEST', `a grant up to window ${grant.lastWindow} is not done at ${input.window}`);
  }
  const done = { ...newShardStates(states.shard), window: input.window };
  if (!failed) {
    put(writer, source, done);
    return accept();
  }
  const next = writer.windows.get(windowKey(source.id, input.window + 1));
  const stuck = input.errorCode === 'STATE_GAP' && next === undefined;
  put(writer, source, {
    ...done,
    superseded: supersede(states),
    attempts: input.window > states.window ? 1 : states.attempts + 1,
    failedExecutorId: grant.executorId,
    retryAtMs: meta.logTimeMs + input.retryAfterMs,
    problem: stuck ? gapProblem(input.window + 1) : `${input.errorCode}: ${input.errorMessage}`,
  });
  return accept();
}

/** Takes note that a shard's mark went back after a failover; the windows after it are granted again. */
export function applyResetStates(writer: StateWriter, input: ResetStates): OperationResult {
  const found = find(writer, input);
  if ('ok' in found) return found;
  const { source, states } = found;
  if (currentGrant(states, input.token) === undefined) {
    return refuse('STALE_EPOCH', `the row states of source ${source.name} have another grant`);
  }
  if (input.window >= states.window) {
    return refuse('BAD_REQUEST', `row states that end at ${states.window} are no further back than that`);
  }
  const kept = writer.windows.get(windowKey(source.id, input.window + 1)) !== undefined;
  const problem = kept ? '' : gapProblem(input.window + 1);
  put(writer, source, { ...newShardStates(states.shard), window: input.window, problem });
  return accept();
}

function gapProblem(window: number): string {
  const way = 'the shard goes on when a member that holds its row states is its primary again';
  return `STATE_GAP: window ${window} is not kept any more; ${way}`;
}

/**
 * After a restore: nobody holds a grant, and shards may hold windows that the backup does not know, also of a
 * source that keeps no row states yet. `below` is the first token of the restored cluster.
 */
export function restoredStates(
  source: SourceRecord,
  below: string,
): Pick<SourceRecord, 'states' | 'formerChains'> {
  const states = source.states?.map((known) => ({ ...known, grant: null, superseded: [] })) ?? null;
  if (mutated('state.restoreKeepsStates')) return { states, formerChains: source.formerChains };
  const former = { below, lastWindow: source.lastWindow, holed: false };
  return { states, formerChains: [...source.formerChains, former] };
}

/** Whether a shard has said that its row states cannot be taken back without holes. */
export function haveHoles({ states }: SourceRecord): boolean {
  return (states ?? []).some(({ problem }) => problem.startsWith('HISTORY_DROPPED: '));
}

/** Has row states taken back with their holes: whoever asks for it has the source read again. */
export function withHoles(source: SourceRecord): Pick<SourceRecord, 'states' | 'formerChains'> {
  const again = (known: ShardStates): ShardStates => {
    const { shard, window } = known;
    return { ...newShardStates(shard), window, superseded: supersede(known) };
  };
  return {
    states: source.states?.map(again) ?? null,
    formerChains: source.formerChains.map((chain) => ({ ...chain, holed: true })),
  };
}

/** The grant that a token belongs to, if it is the current one. */
function currentGrant(states: ShardStates, token: string): StatesGrant | undefined {
  if (states.grant === null) return undefined;
  if (states.grant.token !== token && !mutated('state.statesFinishedByOldToken')) return undefined;
  return states.grant;
}

function supersede(states: ShardStates): readonly string[] {
  if (states.grant === null) return states.superseded;
  return [states.grant.token, ...states.superseded].slice(0, SUPERSEDED_MAX);
}

function put(writer: StateWriter, source: SourceRecord, states: ShardStates): void {
  const all = (source.states ?? []).map((known) => (known.shard === states.shard ? states : known));
  writer.sources.put(idKey(source.id), { ...source, states: all });
}
