/**
 * Seals on their way to the leader. A seal is asked for again after each reconnect, and for as long as the
 * answer is that nobody knows; it may be asked for any number of times, since repeating an accepted seal
 * answers as at first.
 */
import { ERRORS, isErrorCode, LIMITS, TidemarkError, type Cancel, type Clock } from '../../base/index.ts';
import type { SealedWindow, SealReply, SealRequest } from '../../wire/index.ts';

interface Waiting {
  readonly request: SealRequest;
  readonly settle: (error: TidemarkError | undefined) => void;
  retry: Cancel | undefined;
}

export interface SealInput {
  readonly sourceId: bigint;
  readonly window: SealedWindow;
  /** True for window 1, the initial snapshot. */
  readonly snapshot: boolean;
  readonly signal: AbortSignal;
}

const RETRY_MS = 100;

export class SealDesk {
  readonly #clock: Clock;
  readonly #send: (request: SealRequest) => void;
  readonly #waiting = new Map<bigint, Waiting>();
  #lastRequest = 0n;

  constructor(clock: Clock, send: (request: SealRequest) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  /**
   * Resolves when the leader has committed the seal.
   * @throws TidemarkError `STALE_EPOCH`, `WINDOW_GAP` and what else is final; `OVERLOADED`; the signal's
   * reason.
   */
  seal(input: SealInput): Promise<void> {
    if (this.#waiting.size >= LIMITS.sealsWaitingMax) {
      return Promise.reject(new TidemarkError('OVERLOADED', `${this.#waiting.size} seals wait for a leader`));
    }
    this.#lastRequest += 1n;
    const request: SealRequest = {
      request: this.#lastRequest,
      sourceId: input.sourceId,
      window: input.window,
      snapshot: input.snapshot,
    };
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        settle(input.signal.reason as TidemarkError);
      };
      const settle = (error: TidemarkError | undefined): void => {
        this.#waiting.get(request.request)?.retry?.();
        this.#waiting.delete(request.request);
        input.signal.removeEventListener('abort', onAbort);
        if (error === undefined) resolve();
        else reject(error);
      };
      this.#waiting.set(request.request, { request, settle, retry: undefined });
      if (input.signal.aborted) {
        onAbort();
        return;
      }
      input.signal.addEventListener('abort', onAbort, { once: true });
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
