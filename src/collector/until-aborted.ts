/** Waiting for an answer that may never come, until the collector is stopped. */
import { TidemarkError } from '../base/index.ts';

/** Settles as `work` does, or rejects as soon as `signal` aborts. */
export function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      const reason: unknown = signal.reason;
      reject(reason instanceof Error ? reason : new TidemarkError('CANCELLED', 'the collector was stopped'));
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', onAbort);
    });
  });
}
