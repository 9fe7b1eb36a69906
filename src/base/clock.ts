/**
 * Time as a value that is handed in. Product code asks a {@link Clock}; tests and the simulator hand in
 * one that they move by hand. Durations are always monotonic; wall time is for display only.
 */

/** Cancels what it was returned for. Calling it again does nothing. */
export type Cancel = () => void;

export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  monotonicMs(): number;
  /** Milliseconds since 1970 by the wall clock; may jump. For display and job schedules only. */
  wallMs(): number;
  /** Calls `run` once after `delayMs`, unless cancelled before. */
  after(delayMs: number, run: () => void): Cancel;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};

/** Resolves after `ms`, or rejects as soon as `signal` aborts. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      cancel();
      reject(signal?.reason as Error);
    };
    const cancel = clock.after(ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
