/**
 * Sends one request until the leader has answered it or the deadline has passed. What may be sent again is
 * decided by the error table (`src/base/errors.ts`) and by whether the request can be repeated without harm:
 * a read can, and so can a change that carries a session and a sequence number, or that asks for what may be
 * so already.
 */
import { TidemarkError, mutated, sleep, toTidemarkError, type Clock, type ErrorCode } from '../base/index.ts';
import type { Endpoints, Method } from './endpoints.ts';
import { noLeader } from './no-leader.ts';

export interface LeaderCall<Request, Reply> {
  /** Shown in errors: `apply`, `window list`. */
  readonly name: string;
  readonly method: Method<Request, Reply>;
  readonly request: Request;
  /**
   * `read` changes nothing; `numbered` is a change that carries (session, sequence); `repeatable` one that
   * asks for a state of things, not for a step. All may be repeated.
   */
  readonly kind: 'read' | 'numbered' | 'repeatable';
  /** The leader itself waits for others before it answers, for seconds maybe. @default false */
  readonly slow?: boolean;
}

export interface LeaderCallOptions {
  readonly endpoints: Endpoints;
  readonly clock: Clock;
  readonly deadlineMs: number;
}

/** A request that a stopped leader holds is sent elsewhere after this long. */
const ATTEMPT_MS = 2_000;
/**
 * Hints followed at once, one after the other; two nodes that name each other must not be asked in a circle.
 */
const HINTS_AT_ONCE_MAX = 2;
/**
 * With less time left no attempt begins: cut off half way it would turn a clear answer into an unknown one.
 */
const ATTEMPT_LEAST_MS = 100;
const PAUSE_FIRST_MS = 20;
const PAUSE_MAX_MS = 250;
/** Codes of retry advice `later` that pass by themselves within seconds; others are the caller's decision. */
const PASSING: readonly ErrorCode[] = ['NO_LEADER', 'NO_EXECUTOR', 'OVERLOADED', 'STALE_TERM'];
/** Refusals that say nothing about an earlier attempt: its answer is kept no more, or was not looked for. */
const BLIND: readonly ErrorCode[] = [
  'SESSION_EXPIRED',
  'SEQUENCE_STALE',
  'NOT_INITIALIZED',
  'LOG_FULL',
  'INTERNAL',
];

/**
 * @throws TidemarkError what the leader answered; `NO_LEADER` naming each endpoint's state when none answered
 * in time; `OUTCOME_UNKNOWN` when a change may have been carried out without an answer; `CANCELLED` when the
 * client was closed before it was.
 */
export async function callLeader<Request, Reply>(
  options: LeaderCallOptions,
  call: LeaderCall<Request, Reply>,
): Promise<Reply> {
  const { endpoints, clock } = options;
  const endsAt = clock.monotonicMs() + options.deadlineMs;
  let maybeDone = false;
  let pauseMs = PAUSE_FIRST_MS;
  let hints = 0;
  let outsiders = 0;
  for (;;) {
    const leftMs = endsAt - clock.monotonicMs();
    const address = endpoints.preferred;
    let failure: TidemarkError;
    try {
      const attemptMs = call.slow === true ? Math.max(ATTEMPT_MS, leftMs / 2) : ATTEMPT_MS;
      return await endpoints.call(address, call.method, call.request, Math.min(attemptMs, leftMs));
    } catch (error) {
      failure = toTidemarkError(error);
    }
    if (failure.code === 'OUTCOME_UNKNOWN' && call.kind !== 'read') maybeDone = true;
    if (failure.code === 'NOT_INITIALIZED') {
      // One that belongs to no cluster (yet, or with a lost folder) says nothing about the others.
      outsiders += 1;
      if (outsiders >= endpoints.known.length) throw refused(call, failure, maybeDone);
      endpoints.prefer(undefined, address);
      continue;
    }
    outsiders = 0;
    if (!mayRepeat(failure)) throw refused(call, failure, maybeDone);
    if (endpoints.closed) throw refused(call, closedUnder(failure), maybeDone);
    if (failure.code !== 'OVERLOADED' && failure.code !== 'NO_EXECUTOR') {
      endpoints.prefer(failure.details['leader'], address);
    }
    if (endsAt - clock.monotonicMs() <= pauseMs + ATTEMPT_LEAST_MS)
      throw await gaveUp(options, { call, failure, maybeDone });
    // A hint is followed at once; everything else is given a moment, for an election takes one.
    hints = failure.details['leader'] === undefined ? 0 : hints + 1;
    if (hints > 0 && hints <= HINTS_AT_ONCE_MAX) continue;
    await sleep(clock, pauseMs);
    pauseMs = Math.min(pauseMs * 2, PAUSE_MAX_MS);
    hints = 0;
  }
}

function mayRepeat(failure: TidemarkError): boolean {
  if (failure.retry === 'another-node' || failure.code === 'OUTCOME_UNKNOWN') return true;
  return failure.retry === 'later' && PASSING.includes(failure.code);
}

function closedUnder(cause: TidemarkError): TidemarkError {
  return new TidemarkError('CANCELLED', 'the client was closed under the call', { cause });
}

/** A change that may have been carried out is not told as one that was not. */
function refused(
  { name, kind }: { readonly name: string; readonly kind: string },
  failure: TidemarkError,
  maybeDone: boolean,
): TidemarkError {
  if (failure.code === 'CANCELLED' && maybeDone && !mutated('client.closedIsFailure')) {
    return outcomeUnknown(`${name}: the client was closed under it`, failure);
  }
  const blind = maybeDone && kind === 'numbered' && BLIND.includes(failure.code);
  if (!blind || mutated('client.expiredSessionRetried')) return failure;
  return outcomeUnknown(`${name}: the answer was lost, and asking again found none`, failure);
}

async function gaveUp(
  options: LeaderCallOptions,
  end: {
    readonly call: { readonly name: string };
    readonly failure: TidemarkError;
    readonly maybeDone: boolean;
  },
): Promise<TidemarkError> {
  if (end.maybeDone) {
    return outcomeUnknown(`${end.call.name}: no answer within ${options.deadlineMs} ms`, end.failure);
  }
  if (end.failure.code === 'NO_EXECUTOR' || end.failure.code === 'OVERLOADED') return end.failure;
  return noLeader(options.endpoints, options.deadlineMs, end.failure);
}

function outcomeUnknown(what: string, cause: TidemarkError): TidemarkError {
  return new TidemarkError('OUTCOME_UNKNOWN', `${what}; it may or may not have taken effect`, {
    next: 'Look at the state, or give the same command again: what is declared already is left as it is.',
    cause,
  });
}
