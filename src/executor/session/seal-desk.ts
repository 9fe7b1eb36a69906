/**
 * Seals and schema versions on their way to the leader. Each is asked for again after each reconnect, and for
 * as long as the answer is that nobody knows; it may be asked for any number of times, since repeating what
 * was accepted answers as at first.
 */
import { ERRORS, isErrorCode, LIMITS, TidemarkError, type Cancel, type Clock } from '../../base/index.ts';
import type { SchemaRequest, SealedWindow, SealReply, SealRequest } from '../../wire/index.ts';

/** What a collector asks the leader to put into the log. */
export type CollectorRequest =
  | { readonly $case: 'seal'; readonly value: SealRequest }
  | { readonly $case: 'schema'; readonly value: SchemaRequest };

interface Waiting {
  readonly request: CollectorRequest;
  readonly settle: (error: TidemarkError | undefined) => void;
  retry: Cancel | undefined;
}

export interface SealInput {
  readonly sourceId: bigint;
  readonly window: SealedWindow;
  /** How far the snapshot has come; empty when it is finished. */
  readonly cursor: string;
  /** True for a window that was sealed before; with `problem` if it cannot be captured again. */
  readonly again: boolean;
  readonly problem?: TidemarkError | undefined;
  readonly signal: AbortSignal;
}

const RETRY_MS = 100;

export class SealDesk {
  readonly #clock: Clock;
  readonly #send: (request: CollectorRequest) => void;
  readonly #waiting = new Map<bigint, Waiting>();
  #lastRequest = 0n;

  constructor(clock: Clock, send: (request: CollectorRequest) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  /**
   * Resolves when the leader has committed the seal.
   * @throws TidemarkError `STALE_EPOCH`, `WINDOW_GAP` and what else is final; `OVERLOADED`; the signal's
   * reason.
   */
  seal({ signal, problem, ...input }: SealInput): Promise<void> {
    const failure = { errorCode: problem?.code ?? '', errorMessage: problem?.message ?? '' };
    return this.#ask(signal, (request) => ({ $case: 'seal', value: { request, ...input, ...failure } }));
  }

  /**
   * Resolves when the leader has committed the schema version.
   * @throws TidemarkError as {@link seal} does.
   */
  addSchema(schema: Omit<SchemaRequest, 'request'>, signal: AbortSignal): Promise<void> {
    return this.#ask(signal, (request) => ({ $case: 'schema', value: { request, ...schema } }));
  }

  #ask(signal: AbortSignal, body: (request: bigint) => CollectorRequest): Promise<void> {
    if (this.#waiting.size >= LIMITS.sealsWaitingMax) {
      return Promise.reject(new TidemarkError('OVERLOADED', `${this.#waiting.size} seals wait for a leader`));
    }
    this.#lastRequest += 1n;
    const request = body(this.#lastRequest);
    const number = this.#lastRequest;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        settle(signal.reason as TidemarkError);
      };
      const settle = (error: TidemarkError | undefined): void => {
        this.#waiting.get(number)?.retry?.();
        this.#waiting.delete(number);
        signal.removeEventListener('abort', onAbort);
        if (error === undefined) resolve();
        else reject(error);
      };
      this.#waiting.set(number, { request, settle, retry: undefined });
      if (signal.aborted) {
        onAbort();
        return;
      }
      signal.addEventListener('abort', onAbort, { once: true });
      this.#send(request);
    });
  }

  onReply(reply: SealReply): void {
    const waiting = this.#waiting.get(reply.request);
    if (waiting === undefined) return;
    if (reply.errorCode === '') {
      waiting.settle(undefined);
      return;
    }
    const code = isErrorCode(reply.errorCode) ? reply.errorCode : 'INTERNAL';
    if (ERRORS[code].retry === 'never') {
      waiting.settle(new TidemarkError(code, reply.errorMessage));
      return;
    }
    waiting.retry?.();
    waiting.retry = this.#clock.after(RETRY_MS, () => {
      this.#send(waiting.request);
    });
  }

  /** Asks again for every seal without an answer, in the order in which they were first asked for. */
  resend(): void {
    for (const waiting of this.#waiting.values()) this.#send(waiting.request);
  }
}
