import { setTimeout as wait } from 'node:timers/promises';

export interface EventuallyOptions {
  /** The deadline, in milliseconds. */
  readonly withinMs: number;
  /** How long to wait between two looks, in milliseconds. @default 20 */
  readonly everyMs?: number;
  /** What is waited for; part of the error's text, made when it is needed. */
  readonly what?: string | (() => string);
}

/**
 * Looks again and again until `check` neither throws nor returns `false`, and resolves with what it returned.
 * Tests wait with this instead of a fixed time: it ends as soon as the condition holds.
 * @throws Error after `withinMs`, with the last error of `check` as its cause.
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  options: EventuallyOptions,
): Promise<Exclude<T, false>> {
  const deadline = performance.now() + options.withinMs;
  for (;;) {
    let failure: unknown;
    try {
      const result = await check();
      if (result !== false) return result as Exclude<T, false>;
    } catch (error) {
      failure = error;
    }
    if (performance.now() >= deadline) {
      const reason = failure instanceof Error ? `: ${failure.message}` : '';
      const what = typeof options.what === 'function' ? options.what() : (options.what ?? 'the condition');
      throw new Error(`not within ${options.withinMs} ms: ${what}${reason}`, {
        cause: failure,
      });
    }
    await wait(options.everyMs ?? 20);
  }
}
